"""Who keeps a store: one process at a time hears its changes, backs it up, and may make it anew.

The claim is a lock that the system drops with its process, taken by SQLite on an empty file beside the store, which
works alike on every system. A second server, or a restore, that came without it would go on with the first one's change
log, or take its file away while it commits.
"""

import os
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import structlog

from dtms.adapters.store_sql.files import OWNER_ONLY, beside
from dtms.adapters.store_sql.sqlite import DriverError, is_busy

log = structlog.get_logger(__name__)
CLAIM = ".keeper"


class Claim:
    """The right to keep one store file."""

    def __init__(self, path: Path) -> None:
        self._path = beside(path, CLAIM)
        self._connection: Any = None

    def take(self) -> bool:
        """Take it, or go on holding it; False while another has it, here or in another process."""
        if self._connection is not None:
            return True
        connection: Any = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            connection = driver.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0.0)
            connection.execute("PRAGMA journal_mode = MEMORY")  # nothing is ever written, so no journal beside it
            connection.execute("BEGIN EXCLUSIVE")
        except (DriverError, OSError) as error:
            if not is_busy(error):
                log.error("store_not_claimed", told=str(error))
            if connection is not None:
                connection.close()
            return False
        self._connection = connection
        return True

    def give_back(self) -> None:
        """Let another have it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

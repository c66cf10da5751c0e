"""Keeps a store file: hears its changes, backs it up, and makes it anew when it cannot be trusted."""

from collections.abc import Callable
from pathlib import Path

import structlog

from dtms.adapters.store_sql.backup import Backup, Verify, back_up, backups, change_number, folder_of, prune
from dtms.adapters.store_sql.changelog import ChangeLog, last_number
from dtms.adapters.store_sql.rebuild import Rebuilt, rebuild
from dtms.domain.errors import StoreFailed

log = structlog.get_logger(__name__)

KEPT = 14


class Keeper:
    """Keeps one store file; used by the store when it opens, and by whoever makes backups.

    ``verify`` raises ``StoreFailed`` for a file that cannot be trusted; ``kept`` is how many backups stay.
    """

    def __init__(self, path: Path, wall_ms: Callable[[], int], verify: Verify, kept: int = KEPT) -> None:
        self.path = path
        self.folder = folder_of(path)
        self.log = ChangeLog(self.folder)
        self.hear = self.log.hear
        self.rebuilt: Rebuilt | None = None
        """What was done at the last opening that needed it."""
        self.last_backup_ms: int | None = None
        self._wall_ms = wall_ms
        self._verify = verify
        self._kept = kept
        self._is_complete = False

    @property
    def is_backup_due(self) -> bool:
        """Whether backup and change log together do not make the present store."""
        return not self._is_complete or self.log.failure is not None

    def doubt(self) -> str | None:
        """Say why the file that is there cannot be this store's newest, without opening it for writing."""
        known = last_number(self.folder)
        if not self.path.exists():
            return "the store's file is gone" if known or backups(self.folder) else None
        if known is None:
            return None
        try:
            stored = change_number(self.path)
        except StoreFailed:
            return None  # opening tells whether it is empty, foreign or damaged
        if stored < known:
            return f"the store's file is older than its change log (change {stored} of {known})"
        return None

    def rebuild(self, why: str) -> Rebuilt:
        """Set the file aside and make it anew.

        Raises:
            StoreFailed: when there is nothing to make it from.
        """
        log.critical("store_damaged", told=why, path=str(self.path))
        self.log.close()
        self.rebuilt = rebuild(self.path, self._wall_ms(), self._verify)
        log.critical("store_rebuilt", told=self.rebuilt.told())
        return self.rebuilt

    def opened(self) -> None:
        """Go on with the change log where the opened store is."""
        has_backup = bool(backups(self.folder))
        self._is_complete = self.log.open(change_number(self.path)) and has_backup

    def closed(self) -> None:
        self.log.close()

    def back_up(self) -> Backup:
        """Make and verify a backup, begin a new part of the log after it, and let the oldest go.

        Raises:
            StoreFailed: when there is no new backup.
        """
        made = back_up(self.path, self.folder, self._wall_ms(), self._verify)
        self.log.begin_segment(lambda: change_number(self.path))
        self._is_complete = self.log.failure is None
        self.last_backup_ms = self._wall_ms()
        prune(self.folder, self._kept)
        log.info("backed_up", path=made.path.name, change=made.number)
        return made

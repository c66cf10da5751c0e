"""Keeps a store file: hears its changes, backs it up, and makes it anew when it cannot be trusted."""

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from dtms.adapters.store_sql.backup import Backup, Verify, back_up, backups, change_number, clear, folder_of, prune
from dtms.adapters.store_sql.changelog import ChangeLog
from dtms.adapters.store_sql.claim import Claim
from dtms.adapters.store_sql.pending import LeftChanges
from dtms.adapters.store_sql.rebuild import Rebuilt, finish, rebuild
from dtms.adapters.store_sql.segments import last_number, reaches
from dtms.domain.errors import StoreFailed

log = structlog.get_logger(__name__)

KEPT = 14
LOG_BYTES = 64 << 20
"""A log that is longer than this and than the store itself is shortened by a backup."""


class Keeper:
    """Keeps one store file; used by the store when it opens, and by whoever makes backups.

    Of several processes with one store one keeps it, the others only work with it. ``verify`` raises ``StoreFailed``
    for a file that cannot be trusted; ``kept`` is how many backups stay.
    """

    def __init__(self, path: Path, wall_ms: Callable[[], int], verify: Verify, kept: int = KEPT) -> None:
        self.path = path
        self.folder = folder_of(path)
        self._left = LeftChanges(path)
        self.log = ChangeLog(self.folder, self._left)
        self.hear = self.log.hear
        self.rebuilt: Rebuilt | None = None
        """What was done at the last opening that needed it."""
        self.newest: Backup | None = None
        self.last_backup_ms: int | None = None
        self._wall_ms = wall_ms
        self._verify = verify
        self._kept = kept
        self._claim = Claim(path)
        self._is_complete = False
        self._keeps = False
        self._keeping = threading.Lock()

    @property
    def is_backup_due(self) -> bool:
        """Whether backup and change log together do not make the present store, or the log is long."""
        return not self._is_complete or not self.log.is_open or self._is_log_long()

    def _is_log_long(self) -> bool:
        return self.log.length > LOG_BYTES and self.log.length > self.path.stat().st_size

    def doubt(self) -> str | None:
        """Say why the file that is there cannot be this store's newest, without opening it for writing.

        Raises:
            StoreFailed: when it cannot, and another process keeps it.
        """
        is_ours = self._claim.take()
        if is_ours and finish(self.path, self._wall_ms()):
            log.critical("store_put_in_place", told="what a crash had interrupted was finished", path=str(self.path))
        found = self._doubt()
        if found is not None and not is_ours:
            raise StoreFailed(f"{found}, and another process works with {self.path}: stop it first")
        return found

    def _doubt(self) -> str | None:
        made = [b.number for b in backups(self.folder)]
        known = max((last_number(self.folder) or 0, *made))
        if not self.path.exists():
            return "the store's file is gone" if known or made else None
        try:
            stored = change_number(self.path)
        except StoreFailed:
            return None  # opening tells whether it is empty, foreign or damaged
        if stored < known:
            return f"the store's file is older than what is kept of it (change {stored} of {known})"
        return None

    def rebuild(self, why: str) -> Rebuilt:
        """Make the file anew, set what was there aside, and back up what came out.

        Raises:
            StoreFailed: when there is nothing to make it from, or another process keeps it.
        """
        if not self._claim.take():
            raise StoreFailed(f"{why}, and another process works with {self.path}: stop it first")
        log.critical("store_damaged", told=why, path=str(self.path))
        self.log.close()
        self._left.close()
        self.rebuilt = rebuild(self.path, self._wall_ms(), self._verify)
        log.critical("store_rebuilt", told=self.rebuilt.told())
        try:
            back_up(self.path, self.folder, self._wall_ms(), self._verify)
        except StoreFailed as error:
            log.error("rebuilt_store_not_backed_up", told=str(error))  # it is due, and is tried again
        return self.rebuilt

    def opened(self) -> None:
        """Go on with the change log where the opened store is, when this process keeps it."""
        if not self.keep():
            log.info("store_kept_by_another", told="its change log has what is committed here", path=str(self.path))

    def is_unheard(self) -> bool:
        """Answer whether what this process commits must be left for another's change log, or its own later on."""
        return not self.log.is_open

    def keep(self) -> bool:
        """Keep the store from now on, unless another process does; answer whether it is this one."""
        with self._keeping:
            if self._keeps or not self._claim.take():
                return self._keeps
            self._begin()
            self._keeps = True
            return True

    def write_down(self) -> int:
        """Bring to the disk what was committed here and elsewhere; return the number up to which nothing need be left.

        Of a process that kept the store and has ended, the role is taken over.
        """
        if not self.keep():
            return 0
        self.log.catch_up()
        number = self.log.sync()
        return number if number and self._left.has(number) else 0

    def _begin(self) -> None:
        clear(self.folder)
        number, found = change_number(self.path), backups(self.folder)
        self.log.open(number)
        self._is_complete = bool(found) and reaches(self.folder, found[-1].number, number)
        self._note(found[-1] if found else None)

    def closed(self) -> None:
        with self._keeping:
            self.log.close()
            self._left.close()
            self._keeps = False
            self._claim.give_back()

    def back_up(self) -> Backup | None:
        """Begin a new part of the log, make and verify a backup, and let the oldest go; None where another keeps it.

        The log first: whatever is committed while the copy is made is in the one or in both.

        Raises:
            StoreFailed: when there is no new backup.
        """
        if not self.keep():
            return None
        self._is_complete = self._is_complete and self.log.is_open
        self.log.begin_segment(lambda: change_number(self.path))
        made = back_up(self.path, self.folder, self._wall_ms(), self._verify)
        self._is_complete = True
        self._note(made)
        prune(self.folder, self._kept)
        log.info("backed_up", path=made.path.name, change=made.number)
        return made

    def _note(self, backup: Backup | None) -> None:
        self.newest = backup
        self.last_backup_ms = backup.made_ms if backup is not None else None

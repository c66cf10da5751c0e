"""The store's files as they lie on the disk: whether they are still those that were opened, and whole.

SQLite holds on to a file by its descriptor: one that was removed, replaced or cut meanwhile goes on being written, and
all of it is gone with the process. So the names are looked at after every commit, before it is acknowledged. A file
itself is never opened here while SQLite has it open: closing it again would drop SQLite's locks. The log has none.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from dtms.domain.errors import StoreFailed

LOG, INDEX = "-wal", "-shm"
OWNER_ONLY = 0o600
LOG_HEADER_BYTES = 32
LOG_MAGIC = frozenset({0x377F0682, 0x377F0683})


def beside(path: Path, suffix: str) -> Path:
    """Name a file that SQLite keeps beside the store."""
    return path.with_name(path.name + suffix)


def make_private(path: Path) -> None:
    """Take from others what they may do with the store's files, where the system has such rights."""
    if os.name != "posix":
        return
    for file in (path, beside(path, LOG), beside(path, INDEX)):
        if file.exists():
            file.chmod(file.stat().st_mode & 0o700)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can (Windows does so by itself).

    Raises:
        OSError: when it cannot be done.
    """
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file stands under a name."""

    device: int
    number: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Identity":
        return cls(found.st_dev, found.st_ino)


class Watched:
    """The files of an open store, remembered when it was opened.

    The main file only grows. The log is begun anew under another header when its content went into the main file, or
    emptied then; under one header it only grows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = beside(path, LOG)
        self._file = Identity.of(_look(path))
        self._size = 0
        self._log_file: Identity | None = None
        self._log_header = b""
        self._log_size = 0

    def require_same(self) -> os.stat_result:
        """See that the main file is the one that was opened; any thread may ask.

        Raises:
            StoreFailed: when it was removed or replaced.
        """
        found = _look(self._path)
        if Identity.of(found) != self._file:
            raise StoreFailed(f"the store {self._path} was replaced by another file while it was open")
        return found

    def require_logged(self) -> None:
        """See after a commit that it went into the files that a next start will read; only the writer asks.

        Raises:
            StoreFailed: when main file or log was removed, replaced or cut.
        """
        size = self.require_same().st_size
        if size < self._size:
            raise StoreFailed(f"the store {self._path} was cut from {self._size} to {size} bytes while it was open")
        self._size = size
        found = _look(self._log)
        if self._log_file is None:
            self._log_file = Identity.of(found)
        if Identity.of(found) != self._log_file:
            raise StoreFailed(f"the log {self._log} was replaced by another file while it was open")
        header = self._read_header()
        if header and int.from_bytes(header[:4], "big") not in LOG_MAGIC:
            raise StoreFailed(f"the log {self._log} was emptied or written over while it was open")
        self._require_uncut(found.st_size, header)
        self._log_header, self._log_size = header, found.st_size

    def require_uncut(self) -> None:
        """See before a commit that the log was not cut: one that follows on it makes it long again.

        Raises:
            StoreFailed: when it was.
        """
        if self._log_file is not None and (size := _look(self._log).st_size) < self._log_size:
            self._require_uncut(size, self._read_header())

    def _require_uncut(self, size: int, header: bytes) -> None:
        """Let a log be short that has another header: it was begun anew."""
        if size < self._log_size and header == self._log_header:
            raise StoreFailed(f"the log {self._log} was cut from {self._log_size} to {size} bytes while it was open")

    def is_log_lost(self) -> bool:
        """Answer whether the log that SQLite writes has lost its name, while the main file has not."""
        return self._log_file is not None and self._is_own() and _found(self._log) != self._log_file

    def part(self, stamp: str) -> None:
        """Set a log aside that does not belong to the main file beside it: SQLite would mix the two, or delete it.

        Raises:
            StoreFailed: when it cannot be renamed.
        """
        found = _found(self._log)
        if found is None or self._log_file is None or self._is_own() == (found == self._log_file):
            return
        aside = beside(self._path, f"{LOG}.aside-{stamp}")
        try:
            self._log.rename(aside)
        except OSError as error:
            raise StoreFailed(f"{self._log} cannot be set aside: {error.strerror}") from error

    def _is_own(self) -> bool:
        return _found(self._path) == self._file

    def _read_header(self) -> bytes:
        try:
            with self._log.open("rb", buffering=0) as log:
                return log.read(LOG_HEADER_BYTES)
        except OSError as error:
            raise StoreFailed(f"the log {self._log} cannot be read: {error.strerror}") from error


def _found(path: Path) -> Identity | None:
    try:
        return Identity.of(path.stat())
    except OSError:
        return None


def _look(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise StoreFailed(f"{path} is gone while the store is open: {error.strerror}") from error

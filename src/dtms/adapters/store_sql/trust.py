"""Whether an open store may be believed. Once it may not, nothing is read from it or written to it until a reopening.

A sync that failed may have thrown away what it should have written, and the next one says that all is well; pages that
are read then come from memory, not from the disk. So the first error ends the trust of readers and writer alike.
"""

from collections.abc import Callable
from pathlib import Path

from dtms.adapters.store_sql.files import Watched
from dtms.domain.errors import StoreFailed


class Trust:
    """Shared by the writer and the readers of one opening; a database in memory has no files to watch."""

    def __init__(self, path: Path | None) -> None:
        self._watched = None if path is None else Watched(path)
        self.failure: str | None = None
        """Why the store may not be believed any more."""

    def lose(self, why: object) -> None:
        """Believe nothing from now on; the first reason stays."""
        self.failure = self.failure or str(why)

    def require(self) -> None:
        """Pass when the store may be read.

        Raises:
            StoreFailed: when it failed, or its file is not the one that was opened.
        """
        self._require_no_failure()
        if self._watched is not None:
            self._look(self._watched.require_same)

    def require_writable(self) -> None:
        """Pass when a commit may begin: nothing failed, and the log is as long as the last commit left it.

        Raises:
            StoreFailed: when it may not.
        """
        self._require_no_failure()
        if self._watched is not None:
            self._look(self._watched.require_uncut)

    def require_logged(self) -> None:
        """Pass when a commit went into the files that a next start will read.

        Raises:
            StoreFailed: when it did not; it must not be acknowledged.
        """
        if self._watched is not None:
            self._look(self._watched.require_logged)

    @property
    def keeps_log(self) -> bool:
        """Whether the log must stay as it is when the store is closed.

        After an error it may be all that there is, or worth nothing. One that only lost its name is settled: what was
        committed is nowhere else.
        """
        return self.failure is not None and not (self._watched is not None and self._watched.is_log_lost())

    def part(self, stamp: str) -> None:
        """Set a log aside that does not belong to the file beside it."""
        if self.failure is not None and self._watched is not None:
            self._watched.part(stamp)

    def _require_no_failure(self) -> None:
        if self.failure is not None:
            raise StoreFailed(f"the store failed and was not reopened yet: {self.failure}")

    def _look(self, look: Callable[[], object]) -> None:
        try:
            look()
        except StoreFailed as error:
            self.lose(error)
            raise

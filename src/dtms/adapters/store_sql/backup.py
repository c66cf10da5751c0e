"""Backups of a store while it is in use, each verified by opening it; and putting one back.

A backup is one consistent state: its file carries the number of the last change in it, so that the change log goes on
from there. Nothing is ever deleted but backups older than those that are kept, and what is replaced is set aside.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dtms.adapters.store_sql.files import OWNER_ONLY, beside, sync_folder
from dtms.adapters.store_sql.segments import segments
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.adapters.store_sql.writer import CHANGES
from dtms.domain.errors import StoreFailed

STAMP = "%Y%m%dT%H%M%SZ"
SIDE_FILES = ("-wal", "-shm")
UNFINISHED = ".unfinished"
LOGGED = 3
"""The change log reaches back to so many backups: further back only when all of them are spoilt."""

Verify = Callable[[Path], None]
"""Raises ``StoreFailed`` for a file that cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup and the number of the last change in it."""

    path: Path
    number: int

    @property
    def made_ms(self) -> int | None:
        """When it was made, by its name (UTC ms); None for another name."""
        try:
            made = datetime.strptime(self.path.stem.partition("-")[0], STAMP).replace(tzinfo=UTC)
        except ValueError:
            return None
        return int(made.timestamp() * 1000)


def folder_of(path: Path) -> Path:
    """Return where the backups and the change log of a store are kept."""
    return path.with_suffix(".backups")


def stamp(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime(STAMP)


def backups(folder: Path) -> list[Backup]:
    """List the backups of a folder, oldest first."""
    found = []
    for path in folder.glob("*.db"):
        _, _, number = path.stem.rpartition("-")
        if number.isdigit():
            found.append(Backup(path, int(number)))
    return sorted(found, key=lambda b: (b.number, b.path.name))


def change_number(path: Path) -> int:
    """Read the number of the last change that a store file holds; 0 of an empty one.

    It is opened for reading only: else closing it would settle a log that was not looked at yet.

    Raises:
        StoreFailed: when it cannot be read.
    """
    database = SqliteDatabase(path)
    with database.named(), contextlib.closing(database.connect("ro")) as connection:
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'counters'").fetchone()
        found = connection.execute("SELECT value FROM counters WHERE name = ?", (CHANGES,)).fetchone() if made else None
    return int(found[0]) if found else 0


def back_up(path: Path, folder: Path, wall_ms: int, verify: Verify) -> Backup:
    """Copy a store in use, verify the copy, and give it its dated name.

    Raises:
        StoreFailed: when it cannot be read or written, or the copy is not sound; then there is no new backup.
    """
    unfinished = folder / f"{stamp(wall_ms)}-{os.getpid()}{UNFINISHED}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy(path, unfinished)
        verify(unfinished)
        number = change_number(unfinished)
        made = folder / f"{stamp(wall_ms)}-{number:012d}.db"
        _tidy(unfinished)
        unfinished.replace(made)
        sync_folder(folder)
    except OSError as error:
        raise StoreFailed(f"no backup could be made in {folder}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            _remove(unfinished)
    return Backup(made, number)


def clear(folder: Path) -> None:
    """Remove copies that a process which has ended left unfinished."""
    for path in folder.glob(f"*{UNFINISHED}"):
        _, _, process = path.stem.rpartition("-")
        if not process.isdigit() or int(process) == os.getpid() or not psutil.pid_exists(int(process)):
            with contextlib.suppress(OSError):
                _remove(path)


def copy(path: Path, target: Path) -> None:
    """Copy a database by SQLite's backup interface: one state of it, while others go on writing.

    Raises:
        StoreFailed: when it cannot be read or written.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    here, there = SqliteDatabase(path), SqliteDatabase(target)
    with (
        here.named(),
        contextlib.closing(here.connect("ro")) as source,
        there.named(),
        contextlib.closing(there.connect()) as into,
    ):
        source.backup(into)  # in one step: a reader's view, which does not hold writers up
        into.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    with target.open("r+b") as file:
        os.fsync(file.fileno())


def prune(folder: Path, kept: int) -> None:
    """Remove all but the newest backups, and what the change log holds from before the last three of them.

    A file that somebody has open stays until the next time.
    """
    found, reach = backups(folder), min(LOGGED, max(kept, 1))
    for old in found[: -max(kept, 1)]:
        _let_go(old.path)
    if len(found) < reach:
        return
    for segment, following in pairwise(segments(folder)):
        if following.after <= found[-reach].number:
            _let_go(segment.path)


def _let_go(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def set_aside(path: Path, why: str, wall_ms: int) -> Path | None:
    """Give a store's files a dated name beside the old one; None when there is no file."""
    target = path.with_name(f"{path.name}.{why}-{stamp(wall_ms)}")
    while target.exists():
        target = target.with_name(target.name + "-again")
    moved = None
    for ending in ("", *SIDE_FILES):
        file = beside(path, ending)
        if file.exists():
            moved = file.replace(beside(target, ending))
    sync_folder(path.parent)
    return target if moved is not None else None


def _tidy(path: Path) -> None:
    """Remove what opening a database left beside it."""
    for ending in SIDE_FILES:
        beside(path, ending).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    _tidy(path)
    path.unlink(missing_ok=True)

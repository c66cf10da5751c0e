"""The terminal's memory on disk: JSON lines, each with a moment and the changes of the books up to it.

A line holds everything that one call changed, so what a torn last line loses it loses whole. Reading the lines
in order gives the ledger again, and the moment at which the simulation stood.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from dtms.terminal.simulated.records import (
    Acted,
    Change,
    Deal,
    LevelChange,
    Order,
    Position,
    RequestNote,
    Selection,
    Setting,
)

KINDS: dict[str, Callable[..., Change]] = {
    kind.__name__: kind for kind in (Position, Order, Deal, LevelChange, RequestNote, Selection, Acted, Setting)
}


class JournalError(ValueError):
    """A journal that cannot be read; the message says at which line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What a journal held: the changes, the last simulated moment, and when that was written (seconds, by the wall)."""

    changes: tuple[Change, ...]
    at_ms: int
    wall_s: float


class Journal(Protocol):
    """Take down what changed."""

    def write(self, at_ms: int, changes: Sequence[Change]) -> None:
        """Write the changes made up to a simulated moment."""

    def close(self, at_ms: int) -> None:
        """Write the last moment and stop."""


class NoJournal:
    """Forget everything at the end."""

    def write(self, at_ms: int, changes: Sequence[Change]) -> None:
        """Write nothing."""

    def close(self, at_ms: int) -> None:
        """Do nothing."""


class FileJournal:
    """Append to a file; moments without changes are written once in `every_ms` of simulated time."""

    def __init__(self, path: Path, every_ms: int, wall: Callable[[], float]) -> None:
        _drop_torn_line(path)
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="\n")
        self._every_ms = every_ms
        self._wall = wall
        self._written_ms: int | None = None

    def write(self, at_ms: int, changes: Sequence[Change]) -> None:
        """Write the changes made up to a simulated moment, in one line."""
        due = self._written_ms is None or at_ms - self._written_ms > self._every_ms
        if changes or due:
            self._line(at_ms, changes)

    def close(self, at_ms: int) -> None:
        """Write the last moment and close the file."""
        if not self._file.closed:
            self._line(at_ms, ())
            self._file.close()

    def _line(self, at_ms: int, changes: Sequence[Change]) -> None:
        entries = [[type(change).__name__, asdict(change)] for change in changes]
        line: dict[str, Any] = {"at_ms": at_ms, "wall_s": self._wall(), "changes": entries}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
        self._written_ms = at_ms


def read_journal(path: Path) -> Resumed | None:
    """Read a journal, None when there is nothing to resume; JournalError for a broken line that is not the last."""
    if not path.exists():
        return None
    changes: list[Change] = []
    last: dict[str, Any] | None = None
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end was torn
    for number, text in enumerate(lines, 1):
        last = _parse(text, number)
        changes += [KINDS[kind](**values) for kind, values in last["changes"]]
    return Resumed(changes=tuple(changes), at_ms=last["at_ms"], wall_s=last["wall_s"]) if last else None


def _parse(text: bytes, number: int) -> dict[str, Any]:
    try:
        line: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise JournalError(f"journal line {number} is broken: {error}") from error
    return line


def _drop_torn_line(path: Path) -> None:
    """Cut off what a crash left of an unfinished last line."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            path.write_bytes(data[:whole])

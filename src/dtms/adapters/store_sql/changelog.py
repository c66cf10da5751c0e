"""The change log: what was committed since the last backup, row by row, in a second file.

Each line is a digest and a JSON object: the transaction's number and the rows as they were written. The digest covers
the line before it, so that a torn or changed line ends what is believed. A line is written after its transaction was
committed: the log may miss the newest, and never holds what the store has not. What other processes commit is read
from where they left it (``pending.py``). Where numbers have a gap all the same, a new segment is begun, and a backup
is due.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from dtms.adapters.store_sql.codec import UNSTORABLE, dump_json
from dtms.adapters.store_sql.files import OWNER_ONLY, sync_folder
from dtms.adapters.store_sql.pending import LeftChanges
from dtms.adapters.store_sql.writer import Written

PREFIX = "changes-"
DIGEST_BYTES = 16
_FIRST = b"dtms change log"


@dataclass(frozen=True, slots=True)
class Change:
    """One committed transaction: its number, and rows by table in the order in which they were written."""

    number: int
    written: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of consecutive changes; it begins after the number in its name."""

    path: Path
    after: int


def segments(folder: Path) -> list[Segment]:
    """List the segments of a folder, oldest first."""
    named = ((path, path.stem.removeprefix(PREFIX)) for path in folder.glob(f"{PREFIX}*.jsonl"))
    return sorted((Segment(path, int(text)) for path, text in named if text.isdigit()), key=lambda s: s.after)


def changes(folder: Path, after: int) -> Iterator[Change]:
    """Yield the consecutive changes after a number; the first that is missing or not sound ends them."""
    for segment in segments(folder):
        for change, _ in _read(segment):
            if change.number <= after:
                continue
            if change.number != after + 1:
                return
            after = change.number
            yield change


def reaches(folder: Path, after: int, number: int) -> bool:
    """Answer whether the log leads from one number to another without a gap."""
    return max((change.number for change in changes(folder, after)), default=after) >= number


def every_change(folder: Path) -> Iterator[Change]:
    """Yield all sound changes, with gaps between those of one segment and the next."""
    for segment in segments(folder):
        yield from (change for change, _ in _read(segment))


def last_number(folder: Path) -> int | None:
    """Return the number of the newest sound change; None when there is no log."""
    found = segments(folder)
    if not found:
        return None
    newest = found[-1]
    return max((change.number for change, _ in _read(newest)), default=newest.after)


def _read(segment: Segment) -> Iterator[tuple[Change, int]]:
    """Yield the sound lines of a segment, and the length of the file up to each one's end."""
    digest, length, number = _seed(segment.after), 0, segment.after
    for line in _lines(segment.path):
        told, _, body = line.partition(b" ")
        digest = _digest(digest, body)
        if not line.endswith(b"\n") or told != digest:
            return
        change = _change(body)
        if change.number != number + 1:
            return
        number, length = change.number, length + len(line)
        yield change, length


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file as far as it can be read."""
    with contextlib.suppress(OSError), path.open("rb") as lines:
        yield from lines


def _change(body: bytes) -> Change:
    plain = json.loads(body)
    return Change(plain["n"], [(table, rows) for table, rows in plain["w"]])


def _seed(after: int) -> bytes:
    return _digest(_FIRST, str(after).encode())


def _digest(before: bytes, body: bytes) -> bytes:
    return blake2b(before + body, digest_size=DIGEST_BYTES).hexdigest().encode()


class ChangeLog:
    """Append changes as they are committed.

    ``hear`` is called by the store's writer, ``sync`` and ``begin_segment`` by whoever keeps the store. A log that
    cannot be written disturbs no commit: it says so in ``failure`` and is silent until a new segment is begun.
    """

    def __init__(self, folder: Path, left: LeftChanges | None = None) -> None:
        self.folder = folder
        self._left = left
        self._waited_for: int | None = None
        self.failure: str | None = None
        self._file: BinaryIO | None = None
        self._digest = b""
        self._begun = 0
        self._number = 0
        self._length = 0
        self._is_dirty = False
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    @property
    def length(self) -> int:
        """How many bytes the present segment has."""
        return self._length

    def open(self, number: int) -> bool:
        """Go on where the store is; False when the log misses some of its changes, and a backup is due."""
        with self._lock:
            self.failure, self._waited_for = None, None
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                found = segments(self.folder)
                if found and self._resume(found[-1], number):
                    return True
            except OSError as error:
                self._fail(f"it cannot be opened: {error.strerror}")
                return False
            self._begin(number)
        return number == 0 and self.failure is None

    def catch_up(self) -> None:
        """Write down what other processes have left; called every now and then.

        One of our own, committed and not heard of yet, may stand before them, and is waited for until the next time.
        """
        with self._lock:
            if self._file is None or self._left is None:
                return
            newest = self._left.newest()
            self._take_left(newest)
            if self._file is None or newest <= self._number:
                self._waited_for = None
            elif self._waited_for == self._number + 1:
                self._fail(f"change {self._waited_for} was not heard of")
            else:
                self._waited_for = self._number + 1

    def hear(self, number: int, written: Sequence[Written]) -> None:
        """Write one committed transaction down; whatever goes wrong ends the log, and never the writer."""
        with self._lock:
            # A segment may have been begun at a number that was committed, and is told of only now.
            if self._file is None or number <= self._number:
                return
            if number != self._number + 1:
                self._take_left(number - 1)
            if self._file is None:
                return
            if number != self._number + 1:
                self._fail(f"change {self._number + 1} was not heard of")
                return
            try:
                body = dump_json(written)
            except UNSTORABLE as error:
                self._fail(f"change {number} cannot be written down: {error}")
                return
            self._append(number, body)

    def _take_left(self, last: int) -> None:
        """Write down what others have left, as far as it follows on what is written."""
        if self._left is not None:
            for number, body in self._left.after(self._number, last):
                if not self._append(number, body):
                    return

    def _append(self, number: int, body: str) -> bool:
        """Write one line; False when the log has failed."""
        text = f'{{"n":{number},"w":{body}}}\n'.encode()
        digest = _digest(self._digest, text)
        line = digest + b" " + text
        try:
            if self._file is None or self._file.write(line) != len(line):
                self._fail("it cannot be written: the disk is full")
                return False
        except OSError as error:
            self._fail(f"it cannot be written: {error.strerror}")
            return False
        self._digest, self._number, self._length = digest, number, self._length + len(line)
        self._is_dirty = True
        return True

    def sync(self) -> int:
        """Bring what was written to the disk; return the number up to which it is there, 0 when that is not known."""
        try:
            with self._lock:
                file, dirty, self._is_dirty = self._file, self._is_dirty, False
                number = self._number
                if file is None or not dirty:
                    return number if file is not None else 0
                copy = os.dup(file.fileno())
            try:
                os.fsync(copy)
            finally:
                os.close(copy)
        except OSError as error:
            with self._lock:
                self._fail(f"it cannot be synchronised: {error.strerror}")
            return 0
        return number

    def begin_segment(self, number: Callable[[], int]) -> None:
        """Begin a new file, at the number of the store that ``number`` reads when nothing is being written here.

        Raises:
            StoreFailed: when the number cannot be read.
        """
        self.sync()
        with self._lock:
            if self._file is not None and self._number == self._begun:
                return
            self.failure = None
            self._begin(self._number if self._file is not None else number())

    def close(self) -> None:
        self.sync()
        with self._lock:
            self._close()

    def _resume(self, segment: Segment, number: int) -> bool:
        last, length, digest = segment.after, 0, _seed(segment.after)
        with segment.path.open("rb") as lines:
            for change, end in _read(segment):
                line = lines.read(end - length)
                digest, last, length = line.partition(b" ")[0], change.number, end
        if last != number and not self._is_left(last, number):
            return False
        self._file = segment.path.open("r+b", buffering=0)
        self._file.truncate(length)
        self._file.seek(length)
        self._digest, self._begun, self._number, self._length = digest, segment.after, last, length
        self._take_left(number)
        return True

    def _is_left(self, last: int, number: int) -> bool:
        """Answer whether all that the log misses was left by another process."""
        return self._left is not None and max((n for n, _ in self._left.after(last, number)), default=last) == number

    def _begin(self, number: int) -> None:
        self._close()
        path = self.folder / f"{PREFIX}{number:012d}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _keep(path)
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb", buffering=0)
            sync_folder(self.folder)
        except OSError as error:
            self._fail(f"it cannot be made: {error.strerror}")
            return
        self._digest, self._begun, self._number, self._length = _seed(number), number, number, 0

    def _fail(self, why: str) -> None:
        self.failure = why
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _keep(path: Path) -> None:
    """Set a segment of this name aside: what it holds was not gone on with, and is not thrown away."""
    aside = path.with_suffix(".set-aside")
    while aside.exists():
        aside = aside.with_name(aside.name + "-again")
    if path.exists():
        path.replace(aside)

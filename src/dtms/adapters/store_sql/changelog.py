"""The change log: what was committed since the last backup, row by row, in a second file.

Each line is a digest and a JSON object: the transaction's number and the rows as they were written. The digest covers
the line before it, so that a torn or changed line ends what is believed. A line is written after its transaction was
committed: the log may miss the newest, and never holds what the store has not. What other processes commit is read
from where they left it (``pending.py``). Where numbers have a gap all the same, a new segment is begun, and a backup
is due.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from dtms.adapters.store_sql.codec import UNSTORABLE, dump_json
from dtms.adapters.store_sql.files import OWNER_ONLY, sync_folder
from dtms.adapters.store_sql.pending import LeftChanges
from dtms.adapters.store_sql.segments import PREFIX, Segment, digest_after, read_sound, seed_of, segments
from dtms.adapters.store_sql.writer import Written


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
        digest = digest_after(self._digest, text)
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
        last, length, digest = segment.after, 0, seed_of(segment.after)
        with segment.path.open("rb") as lines:
            for change, end in read_sound(segment):
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
        self._digest, self._begun, self._number, self._length = seed_of(number), number, number, 0

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

"""The change log as it lies on the disk, and how far it is believed (``changelog.py`` writes it)."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

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
        for change, _ in read_sound(segment):
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
        yield from (change for change, _ in read_sound(segment))


def last_number(folder: Path) -> int | None:
    """Return the number of the newest sound change; None when there is no log."""
    found = segments(folder)
    if not found:
        return None
    newest = found[-1]
    return max((change.number for change, _ in read_sound(newest)), default=newest.after)


def read_sound(segment: Segment) -> Iterator[tuple[Change, int]]:
    """Yield the sound lines of a segment, and the length of the file up to each one's end."""
    digest, length, number = seed_of(segment.after), 0, segment.after
    for line in _lines(segment.path):
        told, _, body = line.partition(b" ")
        digest = digest_after(digest, body)
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


def seed_of(after: int) -> bytes:
    return digest_after(_FIRST, str(after).encode())


def digest_after(before: bytes, body: bytes) -> bytes:
    return blake2b(before + body, digest_size=DIGEST_BYTES).hexdigest().encode()

"""The write-ahead log that a crash left, read before SQLite reads it: damage is told from a torn end.

SQLite believes the log up to the last commit whose frames all have the right checksums, and says nothing of what
follows. After a power cut that is right: the last commit was not on the disk, so nobody was told of it. But a commit
begins only when the one before it is on the disk, unless that one is of leases alone, which nobody waits to see on the
disk. So when a synchronised commit is not believed and another one follows, it was acknowledged, and is lost. Those
commits are known by the page that counts them. Format: https://sqlite.org/fileformat2.html#walformat.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtms.adapters.store_sql.files import LOG, LOG_HEADER_BYTES, LOG_MAGIC, beside
from dtms.domain.errors import StoreDamaged, StoreFailed

FRAME_HEADER_BYTES = 24
_HEADER = struct.Struct(">8I")
Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log's commits, each named by its last frame (from 1)."""

    commits: tuple[int, ...]
    """Those whose frames bear the log's salts, whatever their checksums."""
    pages: tuple[int, ...]
    """Which page each frame holds; 0 for one that is of another log."""
    believed: int
    """The last one that SQLite will read; 0 for none."""

    def lost(self, counting_page: int | None) -> int:
        """Count the commits that were acknowledged, for all that can be told, and will not be read.

        Without ``counting_page`` every commit is taken for a synchronised one.
        """
        follow = [commit for commit in self.commits if commit > self.believed]
        begins = [self.believed, *follow]
        whole = [self.pages[a:b] for a, b in zip(begins, follow, strict=False)]
        return sum(counting_page is None or counting_page in pages for pages in whole[:-1])


def require_whole_log(path: Path, counting_page: Callable[[], int | None]) -> None:
    """See, while nobody has the store open, that its log holds all commits that were acknowledged.

    ``counting_page`` answers which page every synchronised commit writes.

    Raises:
        StoreDamaged: when acknowledged commits are lost.
        StoreFailed: when it cannot be read.
    """
    try:
        content = beside(path, LOG).read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreFailed(f"the log of the store {path} cannot be read: {error.strerror}") from error
    log = read_log(content)
    count = log.lost(None) and log.lost(counting_page())
    if count and _still(path, content):
        lost = f"at least {count} committed transactions are lost"
        raise StoreDamaged((), f"the log of {path} is not sound after frame {log.believed}, {lost}")


def _still(path: Path, content: bytes) -> bool:
    """Answer whether the log is the one that was read: another process may have begun it anew meanwhile."""
    with beside(path, LOG).open("rb") as log:
        return log.read(LOG_HEADER_BYTES) == content[:LOG_HEADER_BYTES]


def read_log(content: bytes) -> Log:
    """Find the commits in a log's content, and how far it is whole."""
    if len(content) < LOG_HEADER_BYTES:
        return Log(commits=(), pages=(), believed=0)
    magic, _, stored_bytes, _, *rest = _HEADER.unpack_from(content)
    page_bytes = 65536 if stored_bytes == 1 else stored_bytes
    if magic not in LOG_MAGIC or page_bytes < 512 or page_bytes % 8:
        return Log(commits=(), pages=(), believed=0)
    frames = _frames(content, page_bytes)
    own = np.all(frames[:, 2:4].astype(np.uint32) == np.array(rest[:2], np.uint32), axis=1)
    ends = frames[:, 1] != 0
    sound = _sound_frames(frames, tuple(rest[2:]), little=magic == min(LOG_MAGIC))
    # The first frame that is not this log's, or has another checksum, ends what is believed.
    believed = int(np.argmin(np.append(own & sound, False)))
    commits = tuple(int(place) + 1 for place in np.flatnonzero(own & ends))
    pages = tuple(int(page) for page in np.where(own, frames[:, 0], 0))
    return Log(commits=commits, pages=pages, believed=max((c for c in commits if c <= believed), default=0))


def _frames(content: bytes, page_bytes: int) -> Words:
    """Lay the frames out as rows of big-endian words."""
    step = FRAME_HEADER_BYTES + page_bytes
    count = (len(content) - LOG_HEADER_BYTES) // step
    words = np.frombuffer(content, ">u4", count * step // 4, LOG_HEADER_BYTES)
    return words.reshape(count, step // 4)


def _sound_frames(frames: Words, start: tuple[int, ...], *, little: bool) -> NDArray[np.bool_]:
    """Tell which frames have the checksums that follow from all before them."""
    summed = np.hstack((frames[:, :2], frames[:, FRAME_HEADER_BYTES // 4 :]))
    words = (summed.byteswap() if little else summed).astype(np.uint32)
    first, second, carried = _weights(words.shape[1] // 2)
    with np.errstate(over="ignore"):
        adds = np.stack(((words * first).sum(1, np.uint32), (words * second).sum(1, np.uint32)), axis=1)
        state, states = np.array(start, np.uint32), []
        for add in adds:
            state = (carried * state).sum(1, np.uint32) + add
            states.append(state)
    found = np.array(states, np.uint32).reshape(-1, 2)
    sound: NDArray[np.bool_] = np.all(found == frames[:, 4:6].astype(np.uint32), axis=1)
    return sound


def _weights(pairs: int) -> tuple[Words, Words, Words]:
    """Return with what a frame's words count for both halves of its checksum, and how the one before it is carried.

    Two words take the checksum (s, t) to (s + t + x, s + 2t + x + y): a power of one matrix per word, modulo 2³².
    """
    step, power = np.array(((1, 1), (1, 2)), np.uint32), np.eye(2, dtype=np.uint32)
    first, second = np.empty(2 * pairs, np.uint32), np.empty(2 * pairs, np.uint32)
    with np.errstate(over="ignore"):
        for place in range(2 * pairs - 2, -1, -2):
            (a, b), (c, d) = power
            first[place], first[place + 1] = a + b, b
            second[place], second[place + 1] = c + d, d
            power = power @ step
    return first, second, power

"""Where stops of others lie, and whether they were just taken: pools of equal swings, and sweeps of one.

A *sweep* for a LONG is the first bar that falls below a confirmed swing low and closes above it again: the stops below
were taken, and the market did not stay there. *Equal highs* are confirmed swing highs at about one price which no later
bar has passed.
"""

from dataclasses import dataclass

import numpy as np

from dtms.domain.market import Bars, Side
from dtms.market.seen_from import seen_from
from dtms.market.structure import swing_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The taking of the stops beyond ``level``; ``side`` is the side it favours, ``extreme`` how far it went."""

    side: Side
    level: float
    extreme: float
    age_bars: int
    undone: bool
    """A later bar closed beyond the level after all."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Swings at about one price; ``level`` is the outermost of them."""

    level: float
    count: int


def sweeps(bars: Bars, side: Side, side_bars: int) -> tuple[Sweep, ...]:
    """Return the sweeps that favour ``side``, newest first."""
    seen = seen_from(bars, side)
    found = [_sweep(seen, row, side) for row in swing_rows(-seen.low, side_bars).tolist()]
    return tuple(sorted((s for s in found if s is not None), key=lambda s: (s.age_bars, s.level * side.sign)))


def _sweep(seen: Bars, swing: int, side: Side) -> Sweep | None:
    """Return how the swing low at row ``swing`` was swept; None while it stands, or when it was broken."""
    level = seen.low[swing]
    below = seen.low[swing + 1 :] < level
    row = swing + 1 + int(np.argmax(below))
    # A bar below the swing is later than its confirmation: the bars that confirm it are above.
    if not below.any() or not seen.close[row] > level:
        return None
    return Sweep(
        side=side,
        level=side.sign * float(level),
        extreme=side.sign * float(seen.low[row]),
        age_bars=len(seen) - 1 - row,
        undone=bool((seen.close[row + 1 :] < level).any()),
    )


def equal_highs(bars: Bars, side_bars: int, tolerance: float, newest_bars: int) -> Pool | None:
    """Return the largest pool of swing highs within ``tolerance`` (a price difference) of each other.

    Only swings of the ``newest_bars`` bars count, and only those that no later bar has passed by more than the
    tolerance. None when there is no swing. For equal lows see the bars from the other side.
    """
    rows = swing_rows(bars.high, side_bars)
    rows = rows[rows >= len(bars) - newest_bars]
    later = np.append(np.maximum.accumulate(bars.high[::-1])[::-1][1:], -np.inf)
    standing = np.sort(bars.high[rows[later[rows] <= bars.high[rows] + tolerance]])
    if len(standing) == 0:
        return None
    ends = np.searchsorted(standing, standing + tolerance, side="right")
    counts = ends - np.arange(len(standing))
    best = len(counts) - 1 - int(np.argmax(counts[::-1]))  # of equally large ones the outermost
    return Pool(float(standing[ends[best] - 1]), int(counts[best]))

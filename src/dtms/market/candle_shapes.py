"""The shape of the newest closed bar: how long its tail is, and whether it lies inside the bar before it."""

import numpy as np

from dtms.domain.market import Bars, Side
from dtms.market.seen_from import seen_from

_BODY_SHARE_MIN = 0.05
"""A body counts as at least this share of the bar's range, so that a bar without one has a finite ratio."""


def wick_ratio(bars: Bars, side: Side) -> float | None:
    """Return the tail that rejected prices against ``side``, over the body: a lower tail speaks for a LONG.

    0 when the opposite tail is as long or longer: such a bar rejected nothing. None without a bar, or for one that
    did not move.
    """
    if len(bars) == 0:
        return None
    last = seen_from(bars[-1:], side)
    opened, high, low, close = (float(column[0]) for column in (last.open, last.high, last.low, last.close))
    if not high > low:
        return None
    tail, opposite = min(opened, close) - low, high - max(opened, close)
    return tail / max(abs(close - opened), _BODY_SHARE_MIN * (high - low)) if tail > opposite else 0.0


def is_inside(bars: Bars) -> bool | None:
    """Answer whether the newest bar lies within the one before it, and is smaller; None with fewer than two bars."""
    if len(bars) < 2:
        return None
    (high_before, high), (low_before, low) = bars.high[-2:].tolist(), bars.low[-2:].tolist()
    return bool(high <= high_before and low >= low_before and high - low < high_before - low_before)


def volume_ratio(bars: Bars, count: int) -> float | None:
    """Return the newest bar's tick volume over the mean of the ``count`` bars before it; None where it is unknown."""
    before = bars.volume[-count - 1 : -1]
    usual = float(np.sum(before)) / count
    return float(bars.volume[-1]) / usual if len(before) == count and usual > 0.0 else None

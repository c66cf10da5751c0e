"""Zones that a fast move left behind, to which prices tend to return: fair value gaps and order blocks.

A *fair value gap* for a LONG is the space between one bar's high and the low of the second bar after it: prices that
the market passed in one go. It is filled as far as a later bar reached into it, and gone once filled.

An *order block* for a LONG is the last falling bar before the move that broke structure upwards: between the swing that
was broken and the lowest point from which the break came. It is gone once a bar closes below it.

Both are the definitions in common use among traders of "smart money concepts"; neither has one author. Rows are closed
bars, and a zone exists from the close of the bar that completes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtms.domain.market import Bars, Floats, Side
from dtms.market.seen_from import seen_from
from dtms.market.structure import Break

GAP_ATR_MIN = 0.1
"""A gap that is narrower than this share of ATR is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A fair value gap between two prices; ``formed_ms`` is the close of the bar that completed it (UTC)."""

    side: Side
    low: float
    high: float
    formed_ms: int
    age_bars: int
    filled_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBlock:
    """The range of the bar from which a break of structure came; ``formed_ms`` is the breaking bar's close (UTC)."""

    side: Side
    low: float
    high: float
    formed_ms: int
    age_bars: int


def _range_of(side: Side, low: float, high: float) -> tuple[float, float]:
    """Turn a range as a LONG sees it back into prices, lower one first."""
    return (low, high) if side is Side.LONG else (-high, -low)


def live_gaps(bars: Bars, atr: Floats, side: Side) -> tuple[Gap, ...]:
    """Return the gaps for ``side`` that are not filled yet, newest first."""
    if len(bars) < 3:
        return ()
    seen = seen_from(bars, side)
    bottom, top = seen.high[:-2], seen.low[2:]
    rows = np.flatnonzero(top - bottom >= GAP_ATR_MIN * atr[2:])
    reached = np.append(np.minimum.accumulate(seen.low[::-1])[::-1][3:], np.inf)
    """The lowest price after each gap's last bar."""
    rows = rows[(top > bottom)[rows] & (reached > bottom)[rows]]
    filled = 100.0 * np.clip((top[rows] - reached[rows]) / (top[rows] - bottom[rows]), 0.0, 1.0)
    return tuple(
        _gap(bars, side, row + 2, float(bottom[row]), float(top[row]), pct)
        for row, pct in zip(rows[::-1].tolist(), filled[::-1].tolist(), strict=True)
    )


def _gap(bars: Bars, side: Side, row: int, bottom: float, top: float, filled_pct: float) -> Gap:
    low, high = _range_of(side, bottom, top)
    formed_ms = int(bars.time_ms[row]) + bars.timeframe.ms
    return Gap(side=side, low=low, high=high, formed_ms=formed_ms, age_bars=len(bars) - 1 - row, filled_pct=filled_pct)


def live_blocks(bars: Bars, breaks: Sequence[Break], side: Side) -> tuple[OrderBlock, ...]:
    """Return the order blocks for ``side`` that no bar has closed beyond, newest first, each bar at most once."""
    seen = seen_from(bars, side)
    found: dict[int, OrderBlock] = {}
    for event in reversed(breaks):
        row = int(np.searchsorted(bars.time_ms, event.close_ms - bars.timeframe.ms))
        origin = _origin(seen, row, side.sign * event.level) if event.side is side else None
        if origin is None or origin in found or (seen.close[row + 1 :] < seen.low[origin]).any():
            continue
        low, high = _range_of(side, float(seen.low[origin]), float(seen.high[origin]))
        found[origin] = OrderBlock(
            side=side, low=low, high=high, formed_ms=event.close_ms, age_bars=len(bars) - 1 - row
        )
    return tuple(found.values())


def _origin(seen: Bars, row: int, level: float) -> int | None:
    """Return the last falling bar before the move that broke ``level`` at ``row``; None when there was none."""
    swings = np.flatnonzero(seen.high[:row] == level)
    if len(swings) == 0:
        return None
    first = int(swings[-1])
    lowest = first + int(np.argmin(seen.low[first : row + 1]))
    falling = np.flatnonzero(seen.close[first : lowest + 1] < seen.open[first : lowest + 1])
    return first + int(falling[-1]) if len(falling) else None

"""Market structure: swings, and the closes that break them.

A swing high is a high above the highs of ``side_bars`` bars on each side, a swing low its mirror image; it exists from
the close of the last of those bars on, not before. A break is the first close beyond the latest swing by a share of
ATR. The prevailing direction is that of the last break: a break along it is a break of structure (BOS), the first one
against it a change of character (CHoCH), which turns it. The first break in a window, before which no direction is
known, counts as BOS. A break is undone by a close back beyond its level.
"""

from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from dtms.domain.market import Bars, Floats, Ints, Side, Timeframe


class BreakKind(StrEnum):
    """Whether a break follows the prevailing direction or turns it."""

    BOS = "BOS"
    CHOCH = "CHoCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A close beyond a swing; ``side`` is the side it favours, ``close_ms`` the breaking bar's closing time (UTC)."""

    kind: BreakKind
    side: Side
    timeframe: Timeframe
    close_ms: int
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestBreak:
    """The newest break, how many bars ago it happened (0: the newest bar), and whether it was undone since."""

    kind: BreakKind
    side: Side
    level: float
    age_bars: int
    undone: bool


class _Event(NamedTuple):
    """A break by its row in the window."""

    row: int
    swing_row: int
    side: Side
    level: float


def swing_rows(extremes: Floats, side_bars: int) -> Ints:
    """Return the rows whose value exceeds that of ``side_bars`` rows on each side (negate lows to find swing lows)."""
    inner = len(extremes) - 2 * side_bars
    if inner <= 0:
        return np.empty(0, dtype=np.int64)
    middle = extremes[side_bars : side_bars + inner]
    is_swing = np.ones(inner, dtype=np.bool_)
    for shift in range(2 * side_bars + 1):
        if shift != side_bars:
            is_swing &= middle > extremes[shift : shift + inner]
    return np.flatnonzero(is_swing) + side_bars


def _events(
    swings: Ints, extremes: Floats, close: Floats, margin: Floats, *, side_bars: int, side: Side
) -> list[_Event]:
    """Find the first close beyond each swing by ``margin`` while it is the latest.

    Prices are negated for the short side, so that beyond is above for both.
    """
    if len(swings) == 0:
        return []
    first = int(swings[0]) + side_bars
    rows = np.arange(first, len(close))
    latest = np.searchsorted(swings, rows - side_bars, side="right") - 1
    beyond = np.flatnonzero(close[first:] - extremes[swings[latest]] >= margin[first:])
    broken = latest[beyond]
    firsts = np.flatnonzero(np.diff(broken, prepend=-1))  # rising, so the first of each run
    rows, sources = first + beyond[firsts], swings[broken[firsts]]
    levels = (side.sign * extremes[sources]).tolist()
    return [
        _Event(row, source, side, level)
        for row, source, level in zip(rows.tolist(), sources.tolist(), levels, strict=True)
    ]


def _all_events(bars: Bars, margin: Floats, side_bars: int) -> list[_Event]:
    """Find the breaks of both sides, oldest first; of two in one bar the one of the newer swing counts."""
    low = -bars.low
    up = _events(swing_rows(bars.high, side_bars), bars.high, bars.close, margin, side_bars=side_bars, side=Side.LONG)
    down = _events(swing_rows(low, side_bars), low, -bars.close, margin, side_bars=side_bars, side=Side.SHORT)
    events: dict[int, _Event] = {}
    for event in sorted(up + down, key=itemgetter(0, 1)):
        events[event.row] = event
    return list(events.values())


def find_breaks(
    bars: Bars, atr: Floats, *, side_bars: int, margin_atr: float, newest_bars: int
) -> tuple[tuple[Break, ...], LatestBreak | None]:
    """Find the breaks in a window of bars.

    Returns those of the ``newest_bars`` bars, oldest first, and the newest of the whole window as it stands now.
    """
    events = _all_events(bars, margin_atr * atr, side_bars)
    if not events:
        return (), None
    closes_ms = (bars.time_ms + bars.timeframe.ms).tolist()
    breaks: list[Break] = []
    kind, prevailing, oldest_row = BreakKind.BOS, events[0].side, len(bars) - newest_bars
    for event in events:
        kind = BreakKind.BOS if event.side is prevailing else BreakKind.CHOCH
        prevailing = event.side
        if event.row >= oldest_row:
            breaks.append(
                Break(
                    kind=kind,
                    side=event.side,
                    timeframe=bars.timeframe,
                    close_ms=closes_ms[event.row],
                    level=event.level,
                )
            )
    return tuple(breaks), _latest(events[-1], kind, bars.close)


def _latest(event: _Event, kind: BreakKind, close: Floats) -> LatestBreak:
    back = (close[event.row + 1 :] - event.level) * event.side.sign < 0.0
    return LatestBreak(
        kind=kind,
        side=event.side,
        level=event.level,
        age_bars=len(close) - 1 - event.row,
        undone=bool(back.any()),
    )

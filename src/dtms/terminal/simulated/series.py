"""Bars of every timeframe as a terminal shows them at a moment: closed ones, and the forming one at the end.

The forming bar knows only the ticks up to that moment. Timeframes that the recorded bars divide are aggregated from
them once; finer ones from the minutes of each block. Times are the server's, in seconds, as the vendor's are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import BLOCK_MS, Feed
from dtms.terminal.simulated.server_time import DAY_MS, ServerClock
from dtms.terminal.simulated.ticks import MINUTE_MS, Bars, Int64s

RATES_DTYPE = np.dtype(
    [
        ("time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("tick_volume", "<u8"),
        ("spread", "<i4"),
        ("real_volume", "<u8"),
    ]
)
DAY_MINUTES, WEEK_MINUTES = 1440, 10_080
MINUTES_OF: dict[int, int] = {
    **{minutes: minutes for minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{hours | 0x4000: hours * 60 for hours in (1, 2, 3, 4, 6, 8, 12, 24)},
    MT5.TIMEFRAME_W1: WEEK_MINUTES,
}
TIMEFRAMES = (*MINUTES_OF, MT5.TIMEFRAME_MN1)
# The epoch was a Thursday; a terminal's week begins on Sunday.
SUNDAY_SHIFT_MS = 4 * DAY_MS
Rates = NDArray[np.void]


def period_starts(server_ms: Int64s, timeframe: int) -> Int64s:
    """Give the opening server times of the bars that hold these server times."""
    if timeframe == MT5.TIMEFRAME_MN1:
        return server_ms.astype("datetime64[ms]").astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    step = MINUTES_OF[timeframe] * MINUTE_MS
    shift = SUNDAY_SHIFT_MS if timeframe == MT5.TIMEFRAME_W1 else 0
    return np.asarray((server_ms + shift) // step * step - shift)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a forming bar: open, high, low, close, volume, spread in points."""

    values: tuple[int, int, int, int, int, int]


class Series:
    """Give one symbol's bars of any timeframe at any moment."""

    def __init__(self, feed: Feed, clock: ServerClock) -> None:
        self._feed = feed
        self._clock = clock
        self._scale = feed.spec.scale
        # Beside the rows their times alone: searching a field inside rows would copy it each time.
        self._whole: dict[int, tuple[Rates, Int64s]] = {}
        self._by_block: dict[tuple[int, int], Rates] = {}

    def last(self, timeframe: int, now_ms: int, start_pos: int, count: int) -> Rates:
        """Give `count` bars ending `start_pos` bars before the newest, oldest first."""
        rows = self._recent(timeframe, now_ms, self._server_s(now_ms), start_pos + count)
        stop = len(rows) - start_pos
        return rows[max(0, stop - count) : max(0, stop)].copy()

    def before(self, timeframe: int, now_ms: int, server_s: int, count: int) -> Rates:
        """Give up to `count` bars that opened at or before a server time."""
        return self._recent(timeframe, now_ms, server_s, count)[-count:].copy()

    def between(self, timeframe: int, now_ms: int, from_s: int, to_s: int) -> Rates:
        """Give the bars that opened from one server time to another, both included."""
        rows = self._rows(timeframe, now_ms, self._clock.to_utc(from_s * 1000) - DAY_MS)
        start = int(np.searchsorted(rows["time"], from_s, side="left"))
        stop = int(np.searchsorted(rows["time"], to_s, side="right"))
        return rows[start:stop].copy()

    def _server_s(self, utc_ms: int) -> int:
        return self._clock.to_server(utc_ms) // 1000

    def _recent(self, timeframe: int, now_ms: int, upto_s: int, count: int) -> Rates:
        """Give at least the last `count` bars that opened up to a server time, reaching back until there are enough."""
        step_ms = MINUTES_OF.get(timeframe, 31 * DAY_MINUTES) * MINUTE_MS
        upto_ms = min(now_ms, self._clock.to_utc(upto_s * 1000) + DAY_MS)
        reach = step_ms * count + 4 * DAY_MS
        while True:
            rows = self._rows(timeframe, now_ms, upto_ms - reach)
            rows = rows[: int(np.searchsorted(rows["time"], upto_s, side="right"))]
            if len(rows) >= count or upto_ms - reach < self._feed.first_ms:
                return rows
            reach *= 2

    def _rows(self, timeframe: int, now_ms: int, since_ms: int) -> Rates:
        """Give the bars that opened between a UTC moment (or earlier) and now, the forming one last."""
        closed = self._closed(timeframe, now_ms, since_ms)
        forming = self._forming(timeframe, now_ms)
        return closed if forming is None else np.concatenate((closed, forming))

    def _is_coarse(self, timeframe: int) -> bool:
        """Tell whether the recorded bars divide the timeframe's bars."""
        minutes = MINUTES_OF.get(timeframe, DAY_MINUTES)
        return minutes % self._feed.minutes == 0

    def _closed(self, timeframe: int, now_ms: int, since_ms: int) -> Rates:
        now_server = np.array([self._clock.to_server(now_ms)], dtype=np.int64)
        forming_s = int(period_starts(now_server, timeframe)[0]) // 1000
        if self._is_coarse(timeframe):
            rows, times = self._coarse(timeframe)
            start, stop = np.searchsorted(times, (self._server_s(since_ms), forming_s))
            return rows[int(start) : int(stop)]
        rows = self._fine(timeframe, since_ms, now_ms)
        return rows[: int(np.searchsorted(rows["time"], forming_s))]

    def _coarse(self, timeframe: int) -> tuple[Rates, Int64s]:
        known = self._whole.get(timeframe)
        if known is None:
            rows = self._aggregate(self._feed.base, timeframe)
            known = self._whole[timeframe] = (rows, rows["time"].copy())
        return known

    def _fine(self, timeframe: int, since_ms: int, upto_ms: int) -> Rates:
        first = max(since_ms, self._feed.first_ms) // BLOCK_MS
        last = min(upto_ms, self._feed.end_ms) // BLOCK_MS
        return np.concatenate(
            [np.empty(0, RATES_DTYPE), *(self._block_rows(timeframe, number) for number in range(first, last + 1))]
        )

    def _block_rows(self, timeframe: int, number: int) -> Rates:
        key = (timeframe, number)
        rows = self._by_block.get(key)
        if rows is None:
            rows = self._by_block[key] = self._aggregate(self._feed.block(number).minutes, timeframe)
        return rows

    def _aggregate(self, bars: Bars, timeframe: int) -> Rates:
        """Put bars together into rows of a timeframe; a row without bars is absent."""
        starts, first = np.unique(period_starts(self._clock.to_server_many(bars.ms), timeframe), return_index=True)
        rows = np.zeros(len(starts), RATES_DTYPE)
        if not len(starts):
            return rows
        last = np.append(first[1:], len(bars)) - 1
        rows["time"] = starts // 1000
        rows["open"] = bars.open[first] / self._scale
        rows["high"] = np.maximum.reduceat(bars.high, first) / self._scale
        rows["low"] = np.minimum.reduceat(bars.low, first) / self._scale
        rows["close"] = bars.close[last] / self._scale
        rows["tick_volume"] = np.add.reduceat(bars.volume, first)
        rows["spread"] = np.minimum.reduceat(bars.spread_points, first)
        return rows

    def _forming(self, timeframe: int, now_ms: int) -> Rates | None:
        """Build the newest bar from what has happened in its period so far; None when nothing has."""
        now_server = np.array([self._clock.to_server(now_ms)], dtype=np.int64)
        start_server = int(period_starts(now_server, timeframe)[0])
        pieces = self._pieces(self._clock.to_utc(start_server), now_ms)
        if not pieces:
            return None
        row = np.zeros(1, RATES_DTYPE)
        row["time"] = start_server // 1000
        row["open"] = pieces[0].values[0] / self._scale
        row["high"] = max(piece.values[1] for piece in pieces) / self._scale
        row["low"] = min(piece.values[2] for piece in pieces) / self._scale
        row["close"] = pieces[-1].values[3] / self._scale
        row["tick_volume"] = sum(piece.values[4] for piece in pieces)
        row["spread"] = min(piece.values[5] for piece in pieces)
        return row

    def _pieces(self, start_ms: int, now_ms: int) -> list[Piece]:
        """Give the whole recorded bars, then the whole minutes, then the ticks of a period up to now."""
        feed, minute_ms = self._feed, now_ms // MINUTE_MS * MINUTE_MS
        base_ms = now_ms // (feed.minutes * MINUTE_MS) * (feed.minutes * MINUTE_MS)
        pieces = []
        if base_ms > start_ms:
            pieces.append(_reduce(feed.base, start_ms, base_ms))
        block = feed.block(now_ms // BLOCK_MS)
        pieces.append(_reduce(block.minutes, max(start_ms, base_ms), minute_ms))
        pieces.append(self._ticks_piece(minute_ms, now_ms))
        return [piece for piece in pieces if piece is not None]

    def _ticks_piece(self, minute_ms: int, now_ms: int) -> Piece | None:
        """Give the part of the current minute that has been quoted, with its share of the minute's volume."""
        block = self._feed.block(now_ms // BLOCK_MS)
        at = int(np.searchsorted(block.minutes.ms, minute_ms))
        if at >= len(block.minutes) or int(block.minutes.ms[at]) != minute_ms:
            return None
        start = int(block.first[at])
        whole = (int(block.first[at + 1]) if at + 1 < len(block.first) else len(block.ms)) - start
        seen = int(np.searchsorted(block.ms[start : start + whole], now_ms, side="right"))
        if not seen:
            return None
        bid = block.bid[start : start + seen]
        volume = int(block.minutes.volume[at]) * seen // whole
        spread = int(block.minutes.spread_points[at])
        return Piece((int(bid[0]), int(bid.max()), int(bid.min()), int(bid[-1]), volume, spread))


def _reduce(bars: Bars, start_ms: int, stop_ms: int) -> Piece | None:
    start, stop = (int(i) for i in np.searchsorted(bars.ms, (start_ms, stop_ms)))
    if start >= stop:
        return None
    part = bars.slice(start, stop)
    return Piece(
        (
            int(part.open[0]),
            int(part.high.max()),
            int(part.low.min()),
            int(part.close[-1]),
            int(part.volume.sum()),
            int(part.spread_points.min()),
        )
    )

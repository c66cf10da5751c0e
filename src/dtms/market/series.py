"""The closed bars of one symbol and timeframe, kept in step with what is fetched."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dtms.domain.market import Bars, Floats, Timeframe

_COLUMNS = ("open", "high", "low", "close", "volume", "spread")
_NAMES = ("time_ms", *_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBar:
    """A fetched row that was not believed, by its opening time as given, and why."""

    timeframe: Timeframe
    time_ms: int
    reason: str


class BarSeries:
    """Grows by appending; what it hands out never changes afterwards.

    Rows are kept in a buffer with room behind them. A correction of known rows, or a full buffer, moves to a new
    buffer, so that bars handed out before keep the old one.
    """

    def __init__(self, symbol: str, timeframe: Timeframe, keep: int) -> None:
        self._keep = keep
        self._room = 2 * keep
        self._bars = _empty(symbol, timeframe, self._room)
        self._count = 0

    def bars(self) -> Bars:
        """Return all kept bars, read-only, oldest first."""
        view = self._bars[: self._count][-self._keep :]
        for name in _NAMES:
            getattr(view, name).flags.writeable = False
        return view

    def merge(self, fetched: Bars, now_ms: int) -> tuple[RejectedBar, ...]:
        """Take over fetched bars: new ones are appended, known ones replaced; rows that cannot be are rejected."""
        sound, rejected = sift(fetched, now_ms)
        if len(sound) == 0:
            return rejected
        known = self._bars[: self._count]
        first = int(np.searchsorted(known.time_ms, sound.time_ms[0]))
        tail = known[first:]
        if len(tail) <= len(sound) and _equal(tail, sound[: len(tail)]):
            self._append(sound[len(tail) :])
        else:
            self._replace(first, _united(tail, sound))
        return rejected

    def _append(self, rows: Bars) -> None:
        if self._count + len(rows) > self._room:
            self._replace(self._count, rows)
            return
        for name in _NAMES:
            getattr(self._bars, name)[self._count : self._count + len(rows)] = getattr(rows, name)
        self._count += len(rows)

    def _replace(self, first: int, rows: Bars) -> None:
        """Move to a new buffer: the rows before ``first``, then ``rows``, the newest ``keep`` of them."""
        whole = _joined(self._bars[:first], rows)[-self._keep :]
        self._bars = _empty(rows.symbol, rows.timeframe, self._room)
        self._count = 0
        self._append(whole)


def sift(bars: Bars, now_ms: int) -> tuple[Bars, tuple[RejectedBar, ...]]:
    """Split fetched bars into sound ones and rejected rows; of the reasons that apply, the first is given."""
    reasons = tuple((reason, mask) for reason, mask in _faults(bars, now_ms) if mask.any())
    if not reasons:
        return bars, ()
    bad = np.logical_or.reduce([mask for _, mask in reasons])
    rejected = tuple(
        RejectedBar(
            timeframe=bars.timeframe,
            time_ms=int(bars.time_ms[row]),
            reason=next(reason for reason, mask in reasons if mask[row]),
        )
        for row in np.flatnonzero(bad).tolist()
    )
    return _picked(bars, ~bad), rejected


def _faults(bars: Bars, now_ms: int) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each rule with the rows that break it. NaN fails every comparison, so rules say what must hold."""
    time = bars.time_ms
    lowest = np.minimum(np.minimum(bars.open, bars.high), np.minimum(bars.low, bars.close))
    newest_before = np.maximum.accumulate(np.concatenate((np.array([-1]), time)))[:-1]
    yield "not later than the row before it", time <= newest_before
    yield f"not on the grid of {bars.timeframe.name}", time % bars.timeframe.ms != 0
    yield "not closed yet", time + bars.timeframe.ms > now_ms
    yield "a price is not a positive number", ~((lowest > 0.0) & (bars.high < np.inf))
    yield (
        "high below low, or open or close beyond them",
        ~((bars.high >= np.maximum(bars.open, bars.close)) & (bars.low <= np.minimum(bars.open, bars.close))),
    )
    yield (
        "volume or spread is not a number of at least 0",
        ~((bars.volume >= 0.0) & (bars.spread >= 0.0) & np.isfinite(bars.volume) & np.isfinite(bars.spread)),
    )


def _empty(symbol: str, timeframe: Timeframe, rows: int) -> Bars:
    return Bars(
        symbol=symbol,
        timeframe=timeframe,
        time_ms=np.zeros(rows, dtype=np.int64),
        open=np.zeros(rows),
        high=np.zeros(rows),
        low=np.zeros(rows),
        close=np.zeros(rows),
        volume=np.zeros(rows),
        spread=np.zeros(rows),
    )


def _equal(a: Bars, b: Bars) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in _NAMES)


def _picked(bars: Bars, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Bars:
    columns: dict[str, Floats] = {name: getattr(bars, name)[rows] for name in _COLUMNS}
    return Bars(symbol=bars.symbol, timeframe=bars.timeframe, time_ms=bars.time_ms[rows], **columns)


def _joined(a: Bars, b: Bars) -> Bars:
    columns: dict[str, Floats] = {name: np.concatenate((getattr(a, name), getattr(b, name))) for name in _COLUMNS}
    return Bars(symbol=b.symbol, timeframe=b.timeframe, time_ms=np.concatenate((a.time_ms, b.time_ms)), **columns)


def _united(known: Bars, newer: Bars) -> Bars:
    """Join two runs of bars by time; where both have one, the newer is taken."""
    kept = _picked(known, ~np.isin(known.time_ms, newer.time_ms))
    both = _joined(kept, newer)
    return _picked(both, np.argsort(both.time_ms, kind="stable"))

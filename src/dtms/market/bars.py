"""What is known of one symbol's bars and ticks: the only part of the market reading that changes.

Bars are merged as they are fetched, together with the moment at which they were asked for. What cannot be is rejected
with a reason; what is handed out never changes afterwards.
"""

from collections.abc import Iterable

import numpy as np

from dtms.domain.market import Bars, FlowBars, Ints, Timeframe
from dtms.market.hours import SLOT_MS, TradingHours
from dtms.market.series import BarSeries, RejectedBar
from dtms.market.spreads import SpreadBook, usual_spread

FIRST_FILL: dict[Timeframe, int] = {Timeframe.M5: 700, Timeframe.M15: 2_800}
"""Bars asked for when nothing is known: the windows of a view, and four weeks of trading hours."""
EXTRA_FILL: dict[Timeframe, int] = {Timeframe.M1: 700, Timeframe.H1: 700}
"""The same of the timeframes that are only read when somebody asks for them."""
_KEEP: dict[Timeframe, int] = {Timeframe.M1: 2_500, Timeframe.M5: 2_500, Timeframe.M15: 3_000, Timeframe.H1: 2_000}
_OVERLAP = 2
"""Known bars asked for again, so that a late correction by the broker is seen."""
_MINUTE_MS = 60_000
_FLOW_MS = 26 * 3_600_000
_FLOW_BARS = _FLOW_MS // Timeframe.M5.ms
_FIRST_FLOW_MS_MAX = 4 * 24 * 3_600_000


class BarBook:
    """The closed M5 and M15 bars and signed ticks of one symbol, and M1 or H1 bars once they were asked for."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._series = {tf: BarSeries(symbol, tf, _KEEP[tf]) for tf in FIRST_FILL}
        self._answered_ms = dict.fromkeys(_KEEP, 0)
        self._torn: set[Timeframe] = set()
        self._flow: FlowBars | None = None
        self._flow_until_ms = 0
        self._hours = TradingHours.always()
        self._hours_until_ms = 0
        self._closed_since_ms = 0
        self._spread: tuple[tuple[int, int, int], float | None] = ((0, 0, 0), None)
        self.spreads = SpreadBook()

    def m5(self) -> Bars:
        """Return the known M5 bars, oldest first; they never change."""
        return self._series[Timeframe.M5].bars()

    def m15(self) -> Bars:
        """Return the known M15 bars, oldest first; they never change."""
        return self._series[Timeframe.M15].bars()

    def bars(self, timeframe: Timeframe) -> Bars:
        """Return the known bars of a timeframe, oldest first; they never change. None are known unless asked for."""
        return self._series_of(timeframe).bars()

    def _series_of(self, timeframe: Timeframe) -> BarSeries:
        if timeframe not in self._series:
            self._series[timeframe] = BarSeries(self.symbol, timeframe, _KEEP[timeframe])
        return self._series[timeframe]

    @property
    def hours(self) -> TradingHours:
        """The trading hours, learned anew with every day of bars."""
        last = self.m15().last_close_ms
        if last >= self._hours_until_ms:
            self._hours = TradingHours.learn(self.m15().time_ms)
            self._hours_until_ms = last + 24 * 60 * _MINUTE_MS
        return self._hours

    def merge(self, fetched: Bars, now_ms: int) -> tuple[RejectedBar, ...]:
        """Take over bars that were asked for at ``now_ms``; returns the rows that were not believed, with reasons."""
        timeframe = fetched.timeframe
        known = self.bars(timeframe)
        # Known bars are always asked for again, so an answer without one has left a hole: fill it once, from scratch.
        torn = len(known) > 0 and len(fetched) > 0 and timeframe not in self._torn
        if torn and int(fetched.time_ms[0]) > int(known.time_ms[-1]):
            self._torn.add(timeframe)
        else:
            self._torn.discard(timeframe)
        self._answered_ms[timeframe] = max(now_ms, self._answered_ms[timeframe])
        return self._series[timeframe].merge(fetched, now_ms)

    def needs(self, now_ms: int, extra: Iterable[Timeframe] = ()) -> list[tuple[Timeframe, int]]:
        """Return how many of the newest bars to ask for, per timeframe; nothing when none can have closed since.

        M5 and M15 are always read, ``extra`` names what is read beside them. While the market should be closed, one
        question per quarter of an hour is enough.
        """
        counts = ((tf, self._missing(tf, now_ms)) for tf in dict.fromkeys((*FIRST_FILL, *extra)))
        return [(tf, count) for tf, count in counts if count > 0]

    def _missing(self, timeframe: Timeframe, now_ms: int) -> int:
        bars, first_fill = self.bars(timeframe), (FIRST_FILL | EXTRA_FILL)[timeframe]
        if len(bars) == 0 or timeframe in self._torn:
            return first_fill
        due = (timeframe.floor_ms(now_ms) - bars.last_close_ms) // timeframe.ms
        asked_in_slot = self._answered_ms[timeframe] // SLOT_MS == now_ms // SLOT_MS
        if due <= 0 or (asked_in_slot and not self.hours.is_open(now_ms - timeframe.ms)):
            return 0
        return min(due + _OVERLAP, first_fill)

    def note_closed(self, at_ms: int) -> None:
        """Take note of a refusal because the market is closed: nothing is stale until a newer bar closes."""
        self._closed_since_ms = at_ms

    def is_stale(self, now_ms: int, stale_s: float) -> str | None:
        """Return why the bars are too old to decide on, None when they are not.

        The next bar is due when its span has passed, after an opening when the opening's slot has (hours are known to
        the slot and no finer); it is stale ``stale_s`` after that. A market that should be closed now, or has refused
        as closed since the last bar, is not stale.
        """
        reasons = (self.stale_on(tf, now_ms, stale_s) for tf in FIRST_FILL)
        return next((reason for reason in reasons if reason), None)

    def stale_on(self, timeframe: Timeframe, now_ms: int, stale_s: float) -> str | None:
        """Return why the bars of one timeframe are too old to decide on, None when they are not."""
        if not self.hours.is_open(now_ms) or self._closed_since_ms >= max(1, self.m5().last_close_ms):
            return None
        return self._stale_reason(timeframe, now_ms, stale_s)

    def _stale_reason(self, timeframe: Timeframe, now_ms: int, stale_s: float) -> str | None:
        bars = self.bars(timeframe)
        if len(bars) == 0:
            return f"no {timeframe.name} bars of {self.symbol} are known"
        latest_ms = now_ms - int(stale_s * 1000.0)
        due_ms = bars.last_close_ms + timeframe.ms
        if due_ms >= latest_ms:
            return None
        # Bars may be missing at the end of the session before: what counts is the present one.
        opened_ms = self.hours.open_since(now_ms, bars.last_close_ms)
        due_ms = max(due_ms, opened_ms + SLOT_MS) if opened_ms > bars.last_close_ms else due_ms
        if due_ms >= latest_ms:
            return None
        late_s = (now_ms - due_ms) / 1000.0
        return f"the next {timeframe.name} bar of {self.symbol} is {late_s:.0f} s overdue (more than {stale_s:.0f} s)"

    def traded_minutes(self, since_ms: int, until_ms: int) -> float:
        """Return the minutes of a span in which the symbol traded: those covered by closed bars.

        M5 bars count where they are known, M15 bars before that. The bar that is forming counts once it is closed.
        """
        m5, m15 = self.m5(), self.m15()
        known_from = int(m5.time_ms[0]) if len(m5) else until_ms
        early = _overlap_ms(m15.time_ms, m15.timeframe.ms, since_ms, min(until_ms, known_from))
        return (early + _overlap_ms(m5.time_ms, m5.timeframe.ms, since_ms, until_ms)) / _MINUTE_MS

    def median_spread(self) -> float | None:
        """Return the median spread of 30 days or what is known (price difference), without zeros; None if unknown."""
        known = self.m5().last_close_ms, len(self.spreads), self._flow_until_ms
        if known != self._spread[0]:
            self._spread = known, usual_spread(self.spreads, self.m5(), self.m15())
        return self._spread[1]

    def merge_flow(self, fetched: FlowBars, until_ms: int = 0) -> None:
        """Take over signed ticks, asked for up to ``until_ms``; what overlaps is replaced, what is old is dropped."""
        self._flow_until_ms = max(self._flow_until_ms, until_ms)
        if len(fetched) == 0:
            return
        if fetched.spread is not None:
            self.spreads.learn(fetched.time_ms, fetched.spread)
        if self._flow is not None:
            fetched = _united_flow(self._flow, fetched)
        kept = slice(int(np.searchsorted(fetched.time_ms, fetched.time_ms[-1] - _FLOW_MS)), None)
        self._flow = FlowBars(time_ms=fetched.time_ms[kept], signed=fetched.signed[kept], total=fetched.total[kept])

    def flow(self) -> FlowBars | None:
        """Return the signed ticks of the last day and a bit; None when there never were any."""
        return self._flow

    def needs_flow(self, now_ms: int) -> tuple[int, int] | None:
        """Return the span ``[from, to)`` of closed M5 bars whose ticks are not known yet; None when there is none."""
        until = Timeframe.M5.floor_ms(now_ms)
        since = max(self._first_flow_ms(until), self._flow_until_ms)
        if self._flow is not None:
            since = max(since, int(self._flow.time_ms[-1]) + Timeframe.M5.ms)
        return (since, until) if since < until else None

    def _first_flow_ms(self, until_ms: int) -> int:
        """Return from when on ticks are worth asking for: a day of trading, so before the weekend on a Monday."""
        times = self.m5().time_ms
        traded_ms = int(times[-_FLOW_BARS]) if len(times) >= _FLOW_BARS else until_ms
        return max(min(until_ms - _FLOW_MS, traded_ms), until_ms - _FIRST_FLOW_MS_MAX)


def _overlap_ms(time_ms: Ints, bar_ms: int, since_ms: int, until_ms: int) -> int:
    """Sum how much of ``[since_ms, until_ms)`` the bars cover."""
    if until_ms <= since_ms:
        return 0
    first = np.searchsorted(time_ms, since_ms - bar_ms, side="right")
    rows = time_ms[first : np.searchsorted(time_ms, until_ms)]
    return int((np.minimum(rows + bar_ms, until_ms) - np.maximum(rows, since_ms)).sum())


def _united_flow(known: FlowBars, newer: FlowBars) -> FlowBars:
    """Join two runs by time; where both have a bar, the newer is taken."""
    kept = ~np.isin(known.time_ms, newer.time_ms)
    time_ms = np.concatenate((known.time_ms[kept], newer.time_ms))
    order = np.argsort(time_ms, kind="stable")
    return FlowBars(
        time_ms=time_ms[order],
        signed=np.concatenate((known.signed[kept], newer.signed))[order],
        total=np.concatenate((known.total[kept], newer.total))[order],
    )

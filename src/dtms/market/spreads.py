"""The usual spread of a symbol, learned from quotes: the median over 30 days of its medians per five minutes.

A bar records the smallest spread inside it, and a bar of 15 minutes the smallest of many: twice its median is less than
an ordinary quote costs. So what counts is what was quoted: ticks out of the terminal's history where it has them, else
the quotes that were polled, weighted by how long they stood. Spreads of zero are left out, as raw-spread accounts quote
them most of the time, and beside a median of zero every other spread would be a spike.
"""

from bisect import bisect_left
from itertools import accumulate

import numpy as np

from dtms.domain.market import Bars, Floats, Ints, Tick, Timeframe

SLOT_MS = Timeframe.M5.ms
KEEP_MS = 30 * 24 * 3_600_000
ENOUGH_SLOTS = 12
"""An hour of quotes: with less the bars are asked as well."""
BAR_FACTOR = 1.5
"""Quoted spread over a bar's smallest: 1.2 to 1.6 on recorded ticks of EURUSD, XAUUSD and BTCUSD."""
_STANDS_MS_MAX = 60_000
"""For how long a quote counts at most: a market that closes leaves its last one standing."""


class SpreadBook:
    """What is known of one symbol's quoted spreads (price differences)."""

    def __init__(self) -> None:
        self._slots: dict[int, float] = {}
        self._newest: Tick | None = None
        self._slot_ms = 0
        self._stood: list[tuple[float, int]] = []
        """Spreads of the present slot, with the milliseconds that each stood."""
        self._median: float | None = None
        self._is_read = True

    def __len__(self) -> int:
        return len(self._slots)

    def note(self, tick: Tick) -> None:
        """Take a polled quote in; it counts once a newer one shows for how long it stood."""
        before = self._newest
        if before is not None and tick.time_ms <= before.time_ms:
            return
        self._newest = tick
        if before is None or before.spread <= 0.0:
            return
        slot_ms = before.time_ms - before.time_ms % SLOT_MS
        if slot_ms != self._slot_ms:
            self._end_slot()
            self._slot_ms = slot_ms
        self._stood.append((before.spread, min(tick.time_ms - before.time_ms, _STANDS_MS_MAX)))

    def _end_slot(self) -> None:
        if self._stood and self._slot_ms not in self._slots:  # what ticks told of it is better
            self._keep(self._slot_ms, _weighted_median(self._stood))
        self._stood = []

    def learn(self, time_ms: Ints, spread: Floats) -> None:
        """Take medians out of ticks over, by the opening time of their five minutes; 0 or less is unknown."""
        for slot_ms, value in zip(time_ms.tolist(), spread.tolist(), strict=True):
            if 0.0 < value < float("inf"):
                self._keep(slot_ms, value)

    def _keep(self, slot_ms: int, spread: float) -> None:
        self._slots[slot_ms] = spread
        self._is_read = False

    def median(self) -> float | None:
        """Return the median of 30 days, or of what is known; None while no quote is known."""
        if not self._is_read:
            oldest_ms = max(self._slots) - KEEP_MS
            self._slots = {slot: spread for slot, spread in self._slots.items() if slot >= oldest_ms}
            self._median, self._is_read = float(np.median(list(self._slots.values()))), True
        return self._median


def usual_spread(quoted: SpreadBook, m5: Bars, m15: Bars) -> float | None:
    """Return the usual spread as a price difference, None when nothing is known.

    Quotes count once there is an hour of them; before that it is at least what the bars suggest.
    """
    median = quoted.median()
    if len(quoted) >= ENOUGH_SLOTS:
        return median
    guesses = [median, *(bar_spread(bars) for bars in (m5, m15))]
    return max((guess for guess in guesses if guess is not None), default=None)


def bar_spread(bars: Bars) -> float | None:
    """Guess the usual quoted spread from 30 days of bars, without zeros; None when they record none."""
    recent = bars.spread[bars.time_ms >= bars.last_close_ms - KEEP_MS]
    known = recent[recent > 0.0]
    return BAR_FACTOR * float(np.median(known)) if len(known) else None


def _weighted_median(stood: list[tuple[float, int]]) -> float:
    ordered = sorted(stood)
    upto = list(accumulate(weight for _, weight in ordered))
    return ordered[bisect_left(upto, upto[-1] / 2)][0]

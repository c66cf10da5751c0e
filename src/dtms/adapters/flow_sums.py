"""An exchange's trades summed per five minutes, with the account of what is covered and what was missed.

Trades are asked for page by page, from the last known one on. A page that does not contain it, though it was asked
for, shows that trades between were missed: their bars are torn and left out. Nothing here asks or waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dtms.domain.market import FlowBars, Timeframe

BAR_MS: Final = Timeframe.M5.ms
KEEP_MS: Final = 26 * 3_600_000
WINDOW_MS: Final = 55 * 60_000
"""So much time after the moment asked for does an empty page tell of: some exchanges look no further than an hour."""
PRESENT_MS: Final = 2_000
"""A page whose newest trade is not older has reached the present."""
TORN_MAX: Final = 2
"""Bars that may be missing in the span that the layer looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeTrade:
    """One trade; ``signed`` is its amount, positive when the taker bought."""

    time_ms: int
    ident: str
    signed: float


class FlowSums:
    """What is known of one market since ``from_ms``."""

    def __init__(self, from_ms: int) -> None:
        self.from_ms = from_ms
        self.until_ms = from_ms
        """Up to when every trade is known, but for torn bars."""
        self._bars: dict[int, list[float]] = {}
        self._torn: set[int] = set()
        self._last_ms: int | None = None
        self._last_idents: set[str] = set()

    @property
    def ask_ms(self) -> int:
        """Return from when on to ask: from the last trade, so that the answer shows whether it connects."""
        if self._last_ms is not None and self._last_ms > self.until_ms - WINDOW_MS // 2:
            return self._last_ms - 1  # some exchanges answer only what is later than asked
        return self.until_ms

    def take(self, page: Sequence[ExchangeTrade], *, asked_ms: int, begun_ms: int) -> bool:
        """Take a page in that was asked for from ``asked_ms`` on, at ``begun_ms``; True when there may be more."""
        page = sorted(page, key=lambda trade: trade.time_ms)
        if page:
            self._connect(page, asked_ms)
        fresh = [trade for trade in page if self._is_fresh(trade)]
        for trade in fresh:
            bar = self._bars.setdefault(trade.time_ms - trade.time_ms % BAR_MS, [0.0, 0.0])
            bar[0] += trade.signed
            bar[1] += abs(trade.signed)
        self._note_last(fresh)
        reached_ms = begun_ms if not fresh or fresh[-1].time_ms >= begun_ms - PRESENT_MS else fresh[-1].time_ms
        if not fresh:
            reached_ms = min(begun_ms, asked_ms + WINDOW_MS)
        self.until_ms = max(self.until_ms, reached_ms)
        self._forget()
        return self.until_ms < begun_ms

    def _connect(self, page: Sequence[ExchangeTrade], asked_ms: int) -> None:
        first_ms = page[0].time_ms
        if self._last_ms is None:
            if first_ms > self.from_ms:  # it may have no older ones to give
                self.from_ms = self.until_ms = first_ms
        elif asked_ms < self._last_ms < first_ms:
            self._tear(first_ms)

    def _tear(self, first_ms: int) -> None:
        """Leave out the bars of the trades that were missed before a page."""
        assert self._last_ms is not None
        self._torn.update(range(self._last_ms - self._last_ms % BAR_MS, first_ms + 1, BAR_MS))

    def _is_fresh(self, trade: ExchangeTrade) -> bool:
        last_ms = self._last_ms
        if last_ms is None or trade.time_ms > last_ms:
            return True
        return trade.time_ms == last_ms and trade.ident not in self._last_idents

    def _note_last(self, fresh: Sequence[ExchangeTrade]) -> None:
        if not fresh:
            return
        newest_ms = fresh[-1].time_ms
        if newest_ms != self._last_ms:
            self._last_ms, self._last_idents = newest_ms, set()
        self._last_idents |= {trade.ident for trade in fresh if trade.time_ms == newest_ms}

    def _forget(self) -> None:
        oldest_ms = self.until_ms - KEEP_MS
        self._bars = {at: bar for at, bar in self._bars.items() if at >= oldest_ms}
        self._torn = {at for at in self._torn if at >= oldest_ms}

    def lacks(self, now_ms: int, *, stale_ms: int, span_ms: int) -> str | None:
        """Say why these sums cannot be used for a span before ``now_ms``, None when they can."""
        if self.until_ms < now_ms - stale_ms:
            return f"nothing newer for {(now_ms - self.until_ms) / 1000:.0f} s"
        if self.from_ms > now_ms - span_ms:
            known_min = max(0.0, (self.until_ms - self.from_ms) / 60_000)
            return f"{known_min:.0f} of {span_ms / 60_000:.0f} minutes known so far"
        if not any(at > now_ms - span_ms for at in self._bars):
            return f"no trade in {span_ms / 60_000:.0f} minutes"
        torn = sum(1 for at in self._torn if at > now_ms - span_ms - BAR_MS)
        return f"trades were missed in {torn} of the last {span_ms // BAR_MS} bars" if torn > TORN_MAX else None

    def bars(self, source: str) -> FlowBars:
        """Return the sums of whole bars; the newest may still be forming."""
        known = sorted(at for at in self._bars if at >= self.from_ms and at not in self._torn)
        return FlowBars(
            time_ms=np.array(known, dtype=np.int64),
            signed=np.array([self._bars[at][0] for at in known], dtype=np.float64),
            total=np.array([self._bars[at][1] for at in known], dtype=np.float64),
            source=source,
        )

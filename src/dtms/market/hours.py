"""Trading hours, learned from bars, since the terminal's interface has none.

The week is cut into slots of 15 minutes on New York's clock, to which currencies, metals and the usual server clocks
keep, so that a change of summer time in the United States shifts nothing. Symbols that keep another zone's summer time
are off by an hour at the edges of their day in the few weeks in which the zones differ, until half of the observed
weeks agree again. A slot is open when a bar was seen in at least half of the weeks in which it could have been; one
that has never come round yet counts as open.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dtms.domain.market import Ints

SLOT_MS = 15 * 60_000
SLOTS = 7 * 24 * 4
WEEKS = 4
_HOUR_MS = 3_600_000
_WEEK_MS = SLOTS * SLOT_MS


@lru_cache(maxsize=128)
def _summer_ms(year: int) -> tuple[int, int]:
    """Return when New York's summer time begins and ends (UTC ms): second Sunday of March, first of November, 2:00."""
    march, november = datetime(year, 3, 8, 7, tzinfo=UTC), datetime(year, 11, 1, 6, tzinfo=UTC)
    first, last = (day + timedelta(days=(6 - day.weekday()) % 7) for day in (march, november))
    return int(first.timestamp() * 1000), int(last.timestamp() * 1000)


def new_york_ms(at_ms: int) -> int:
    """Return what New York's clock shows, as milliseconds since its own 1970."""
    start, end = _summer_ms(1970 + at_ms // 31_556_952_000)
    return at_ms - (4 if start <= at_ms < end else 5) * _HOUR_MS


def _slot(at_ms: int) -> int:
    return new_york_ms(at_ms) % _WEEK_MS // SLOT_MS


@dataclass(frozen=True, slots=True, eq=False)
class TradingHours:
    """Which slots of the week are open; shape ``(SLOTS,)``, by New York's clock."""

    slots: npt.NDArray[np.bool_]

    @classmethod
    def always(cls) -> "TradingHours":
        """Return the hours of a symbol of which nothing is known: open."""
        return cls(np.ones(SLOTS, dtype=np.bool_))

    @classmethod
    def learn(cls, m15_time_ms: Ints) -> "TradingHours":
        """Learn from the opening times (UTC ms, rising) of the last ``WEEKS`` weeks of M15 bars."""
        if len(m15_time_ms) == 0:
            return cls.always()
        last = int(m15_time_ms[-1])
        known = m15_time_ms[np.searchsorted(m15_time_ms, last - WEEKS * _WEEK_MS, side="right") :]
        seen = np.bincount([_slot(t) for t in known.tolist()], minlength=SLOTS)
        possible = np.bincount([_slot(t) for t in range(int(known[0]), last + 1, SLOT_MS)], minlength=SLOTS)
        return cls(2 * seen >= possible)

    def is_open(self, at_ms: int) -> bool:
        """Tell whether the symbol should trade at a moment (UTC ms)."""
        return bool(self.slots[_slot(at_ms)])

    def next_open(self, at_ms: int) -> int | None:
        """Return the first moment from ``at_ms`` on at which the symbol should trade; None when it never does."""
        if self.is_open(at_ms):
            return at_ms
        start = at_ms - at_ms % SLOT_MS
        return next((t for t in range(start + SLOT_MS, start + _WEEK_MS + SLOT_MS, SLOT_MS) if self.is_open(t)), None)

    def open_since(self, at_ms: int, not_before_ms: int) -> int:
        """Return when the opening that lasts until ``at_ms`` began, at the earliest ``not_before_ms`` (UTC ms)."""
        start = at_ms - at_ms % SLOT_MS
        while start > not_before_ms and self.is_open(start - SLOT_MS):
            start -= SLOT_MS
        return max(start, not_before_ms)

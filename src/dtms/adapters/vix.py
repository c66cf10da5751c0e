"""The volatility index: daily closes out of a CSV, or the broker's own symbol.

A close counts from midnight UTC after its day on, hours after New York has it, so that no replay knows it too early.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from dtms.adapters.calendar import text_of
from dtms.domain.errors import BrokerUnavailable, Misconfigured
from dtms.domain.market import Floats, Ints, Tick
from dtms.domain.sources import DAY_MS, Vix
from dtms.ports.sources import AskQuote

DATES: Final = ("date", "observation_date", "time_utc")
CLOSES: Final = ("close", "vix", "vixcls", "value")
"""Names under which they may stand, in the order in which they are tried."""
UNKNOWN: Final = frozenset({"", ".", "null", "nan"})
VALUE_MAX: Final = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VixCloses:
    """Closes, oldest first; shape ``(n,)``; ``known_ms`` is from when on each counts."""

    known_ms: Ints
    close: Floats

    def at(self, now_ms: int, source: str) -> Vix | None:
        """Return the newest close that was known at a moment; None before the first."""
        row = int(np.searchsorted(self.known_ms, now_ms, side="right")) - 1
        if row < 0:
            return None
        return Vix(value=float(self.close[row]), at_ms=int(self.known_ms[row]), source=source)


def parse_vix(data: bytes, name: str) -> VixCloses:
    """Read a CSV with a date (YYYY-MM-DD or MM/DD/YYYY) and a close per row; days without a figure are passed over.

    Raises:
        Misconfigured: naming the file, the row and what is wrong in it.
    """
    rows = csv.DictReader(text_of(data, f"VIX {name}").splitlines())
    found: dict[int, float] = {}
    try:
        columns = {str(column).strip().lower(): column for column in rows.fieldnames or ()}
        date, close = (next((columns[c] for c in names if c in columns), None) for names in (DATES, CLOSES))
        if date is None or close is None:
            raise Misconfigured(f"VIX {name}: needs a column {DATES[0]} and a column {CLOSES[0]}")
        for row in rows:
            found |= _day(row, date, close)
    except (csv.Error, TypeError, ValueError, AttributeError) as error:
        raise Misconfigured(f"VIX {name}: line {rows.line_num}: {error}") from error
    if not found:
        raise Misconfigured(f"VIX {name}: it has no figures")
    days = sorted(found)
    return VixCloses(
        known_ms=np.array(days, dtype=np.int64) + DAY_MS, close=np.array([found[day] for day in days], dtype=np.float64)
    )


def _day(row: Mapping[str, str], date: str, close: str) -> dict[int, float]:
    if row[close].strip().lower() in UNKNOWN:
        return {}
    value = float(row[close])
    if not (math.isfinite(value) and 0.0 < value < VALUE_MAX):
        raise ValueError(f"{row[close]} is no VIX")
    return {_midnight_ms(row[date].strip()): value}


def _midnight_ms(text: str) -> int:
    moment = datetime.strptime(text, "%m/%d/%Y") if "/" in text else datetime.fromisoformat(text)  # noqa: DTZ007
    return int(moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC).timestamp() * 1000)


class VixQuote:
    """The broker's own symbol, asked now and then."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.tick: Tick | None = None
        self.failure: str | None = "not asked yet"

    async def refresh(self, ask: AskQuote) -> None:
        """Ask once; what was known stays when there is no answer."""
        try:
            tick = await ask(self.symbol)
        except BrokerUnavailable as error:
            self.failure = str(error)
            return
        if tick is None or not tick.is_sound:
            self.failure = f"the broker has no quote of {self.symbol}"
            return
        self.tick, self.failure = tick, None

    def at(self, now_ms: int) -> Vix | None:
        """Return the last quote's middle, None when there is none of that time."""
        tick = self.tick
        if tick is None or tick.time_ms > now_ms + DAY_MS:
            return None
        return Vix(value=(tick.bid + tick.ask) / 2, at_ms=min(tick.time_ms, now_ms), source=f"quote of {self.symbol}")

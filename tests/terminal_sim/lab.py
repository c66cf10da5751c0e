"""A bench with a market made by hand: minutes given as (open, high, low, close) in points around one price."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal
from dtms.terminal.simulated.clock import SteppedClock
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.recording import BarRecording, write_recording
from dtms.terminal.simulated.structs import OrderSendResult, TradePosition

MINUTE_MS = 60_000
TUESDAY = "2024-01-16T10:00Z"
HISTORY_MINUTES = 120
BASE_POINTS = 110_000
FLAT = (0, 0, 0, 0)
# Two points of spread are too few for the terminal to vary, so that every fill can be told beforehand.
SPREAD = 2
PLAIN: dict[str, Any] = {"typical_spread_points": SPREAD, "wide_spread_factor": 1, "commission_per_lot": 0.0}

Minute = tuple[int, int, int, int] | None


def utc_ms(text: str) -> int:
    """Read an ISO time as UTC milliseconds."""
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def price(points: int, digits: int = 5) -> float:
    """Give the price at an offset in points from the bench's base price."""
    return (BASE_POINTS + points) / float(10**digits)


def write_market(path: Path, minutes: Sequence[Minute], begin: str = TUESDAY) -> Path:
    """Write minutes from a moment on, after two flat hours; None is a minute without a bar."""
    first: tuple[int, int, int, int] = next(minute for minute in minutes if minute)
    start_ms = utc_ms(begin) - HISTORY_MINUTES * MINUTE_MS
    before: Minute = (first[0], first[0], first[0], first[0])
    rows: list[Minute] = [*[before] * HISTORY_MINUTES, *minutes]
    kept = [(start_ms + i * MINUTE_MS, row) for i, row in enumerate(rows) if row]
    prices = np.array([row for _, row in kept], dtype=np.float64) + BASE_POINTS
    bars = BarRecording(
        minutes=1,
        ms=np.array([ms for ms, _ in kept], dtype=np.int64),
        open=prices[:, 0] / 1e5,
        high=prices[:, 1] / 1e5,
        low=prices[:, 2] / 1e5,
        close=prices[:, 3] / 1e5,
        volume=np.full(len(kept), 40, dtype=np.int64),
        spread_points=np.full(len(kept), SPREAD, dtype=np.int64),
        about={"symbol": "EURUSD", "timeframe_minutes": 1},
    )
    write_recording(path, bars, 5)
    return path


@dataclass(slots=True, kw_only=True)
class Lab:
    """A terminal on a hand-made market, with shorthands for what tests do over and over."""

    terminal: SimulatedTerminal
    clock: SteppedClock
    begin_ms: int
    symbol: str = "EURUSD"

    def minute(self, number: float) -> None:
        """Play to so many minutes after the market's first made minute."""
        self.clock.advance_to(self.begin_ms + round(number * MINUTE_MS))
        self.terminal.positions_total()

    def send(self, **request: Any) -> OrderSendResult:
        """Send a request, which must be one that the package takes."""
        result = self.terminal.order_send({"symbol": self.symbol, **request})
        assert result is not None, self.terminal.last_error()
        return result

    def market(self, side: int, lots: float = 0.1, **more: Any) -> OrderSendResult:
        """Send a market order; `position=` makes it a close."""
        return self.send(action=1, type=side, volume=lots, type_filling=0, **more)

    def opened(self, side: int, lots: float = 0.1, **more: Any) -> int:
        """Open a position and give its ticket."""
        result = self.market(side, lots, **more)
        assert result.retcode == 10009, result
        return result.order

    def levels(self, ticket: int, **levels: float) -> OrderSendResult:
        """Set stop and target of a position."""
        return self.send(action=6, position=ticket, **levels)

    def position(self, ticket: int) -> TradePosition | None:
        """Give a position, None when it is closed."""
        found = self.terminal.positions_get(ticket=ticket)
        assert found is not None
        return found[0] if found else None


def make_lab(folder: Path, minutes: Sequence[Minute], begin: str = TUESDAY, **options: Any) -> Lab:
    """Build a bench; `spec`, `account` override conditions, other options go to the configuration."""
    path = write_market(folder / "market.csv.gz", minutes, begin)
    name = options.pop("name", "EURUSD")
    spec = PLAIN | options.pop("spec", {})
    config = load_config(
        {
            "start": options.pop("start", datetime.fromtimestamp(utc_ms(begin) / 1000 - 30, UTC).isoformat()),
            "symbols": [{"name": name, "like": "EURUSD", "recording": str(path), **spec}],
            **options,
        },
        folder,
    )
    terminal, clock = stepped_terminal(config)
    assert terminal.initialize()
    return Lab(terminal=terminal, clock=clock, begin_ms=utc_ms(begin), symbol=name)

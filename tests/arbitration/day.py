"""A day of trading on real programs: the gateway, the DTMS server and the main API, with many positions in many hands.

Positions that a person opens are DTMS's, with Intelligent Exit beside; those that are executed with a strategy are the
Universal manager's. The market is the demo's day, much faster than a real one.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx
from tests.program.past import PLAYED, demo_day
from tests.program.running import BTCUSD, EURUSD, Program, Site, wait_until

from dtms.domain.strategies import Strategy

BEGINS: Final = datetime(2017, 10, 25, 10, 0, tzinfo=UTC)
RISKS: Final = {EURUSD: 0.0008, BTCUSD: 0.004}
"""How far away stops are at first, as a share of the price: about one ATR(14) of 15 minutes."""
LOTS: Final = {EURUSD: 0.4, BTCUSD: 0.4}
DIGITS: Final = {EURUSD: 5, BTCUSD: 2}
ROWS: Final = (
    Strategy.BREAKOUT_IB_VOLATILITY_TRAP,
    Strategy.TREND_CONTINUATION_PULLBACK,
    Strategy.LIQUIDITY_SWEEP_REVERSAL,
    Strategy.ORDER_BLOCK_REJECTION,
    Strategy.MEAN_REVERSION_RANGE_SCALP,
    Strategy.DEFAULT_STANDARD,
)
"""One strategy for each row of the table."""
SETTINGS: Final[Mapping[str, Any]] = {
    **PLAYED,
    "cadence.tick_poll_ms": 50,
    "exits.auto_enable": "true",
    "rails.requests_per_day": 100_000,
    "rails.daily_loss_percent": 50,
    "rails.hourly_loss_percent": 50,
}
TERMINAL, SERVER, MAIN = "terminal", "server", "main"


def samples(count: int, every_s: float, *, stop_atr: float = 2.0, target_atr: float = 4.0) -> list[dict[str, Any]]:
    """Let somebody open positions by hand: both symbols, both sides, one after the other from the day's begin."""
    ways = cycle((symbol, side) for side in ("BUY", "SELL") for symbol in (EURUSD, BTCUSD))
    return [
        {
            "at": (BEGINS + timedelta(seconds=60 + number * every_s)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kind": "open",
            "name": f"by-hand-{number}",
            "symbol": symbol,
            "side": side,
            "lots": LOTS[symbol],
            "sl": {"atr": stop_atr},
            "tp": {"atr": target_atr},
        }
        for number, (symbol, side) in zip(range(count), ways, strict=False)
    ]


class Day:
    """One installation on the demo's day, and what is done on it."""

    def __init__(self, folder: Path, *, rate: float, actors: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        self._market = {"actors": list(actors), "account": {"balance": 1_000_000}}
        self.site = Site(folder, demo_day(rate=rate, **self._market), **{**SETTINGS, **settings})
        self.programs: dict[str, Program] = {}
        self._executions = self._drafts()

    # --- programs ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all three and wait until they are ready."""
        terminal, server, main = self.site.start_all()
        self.programs = {TERMINAL: terminal, SERVER: server, MAIN: main}

    def kill(self, what: str) -> int:
        """End a program as a power cut does; return the wall clock's milliseconds after it."""
        self.programs[what].kill()
        return int(time.time() * 1000)  # noqa: TID251 - facts carry the machine's wall clock

    def start_again(self, what: str, environ: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start a program that was ended, and wait until it is ready."""
        starts = {TERMINAL: self.site.start_terminal, MAIN: self.site.start_main}
        self.programs[what] = starts[what](environ) if what in starts else self.site.start_server()
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until both programs that serve HTTP are ready, as far as they run."""
        if self.programs[SERVER].process.poll() is None:
            self.site.wait_ready(self.programs[SERVER])
        if self.programs[MAIN].process.poll() is None:
            self.site.wait_main(self.programs[MAIN])

    def calm(self) -> None:
        """Stop everything, and go on on a market so slow that all books can be compared."""
        for what in (MAIN, SERVER, TERMINAL):
            if self.programs[what].process.poll() is None:
                self.programs[what].interrupt(30)
        self.site.describe(demo_day(rate=1, **self._market))
        self.start()

    def close(self) -> None:
        self.site.close()

    def __enter__(self) -> "Day":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- trading -------------------------------------------------------------------------------------------------

    def _drafts(self) -> Iterator[tuple[str, str, Strategy]]:
        return cycle((s, side, row) for row in ROWS for s in (EURUSD, BTCUSD) for side in ("buy", "sell"))

    def execute(
        self, symbol: str, side: str, strategy: Strategy | None, *, risk_r: float = 1.0, reward_r: float = 6.0
    ) -> httpx.Response:
        """Ask for an execution at the market; stop and target are given in what a stop is away at first."""
        with self.site.trader() as trader:
            quote = trader.quote(symbol)
        price, sign = (quote["ask"], 1) if side == "buy" else (quote["bid"], -1)
        away = price * RISKS[symbol] * sign
        body: dict[str, Any] = {
            "symbol": symbol,
            "direction": side,
            "volume": LOTS[symbol],
            "stop_loss": round(price - risk_r * away, DIGITS[symbol]),
            "take_profit": round(price + reward_r * away, DIGITS[symbol]),
        }
        if strategy is not None:
            body["strategy_type"] = strategy.value
        return self.site.main.post("/mt5/execute", json=body)

    def execute_next(self) -> httpx.Response:
        """Ask for the next execution: every row of strategies, both symbols, both sides, again and again."""
        return self.execute(*next(self._executions))

    def trade_for(self, seconds: float, every_s: float) -> int:
        """Execute one after the other for so long; return how many were done."""
        until, done = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            begun = time.monotonic()
            done += self.execute_next().status_code == 200
            time.sleep(max(0.0, min(until, begun + every_s) - time.monotonic()))
        return done

    def settle(self) -> None:
        """Halt, and wait until nobody looks for an outcome any more."""
        self.site.done("/dtms/halt", {"reason": "to count"})
        open_ones = "SELECT number FROM intents WHERE state IN ('SENDING', 'UNKNOWN')"
        wait_until(lambda: not self.site.rows(open_ones), "every outcome is known", within_s=60)

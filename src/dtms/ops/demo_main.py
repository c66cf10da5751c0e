"""The demo's second program: trades over the main API, with strategies, plans and profit protection.

It keeps a trade by strategy open on each side of the market, a plan that waits for the price to come back a little,
and Intelligent Exit on what DTMS defends. What becomes of them is dtms's business.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

import httpx
from rich.console import Console
from rich.markup import escape

UNIVERSAL: Final = "universal_sl_tp_manager"
DTMS: Final = "dtms_manager"
LOOK_S: Final = 1.0
STOP_ATR, TARGET_ATR, BACK_ATR = 2.0, 3.0, 0.3
OPEN_MAX: Final = 2
"""Trades by strategy at a time, for each symbol."""
PLANNED_MAX: Final = 4
"""With so many of them open, no plan is made."""
LOTS: Final[Mapping[str, float]] = {"EURUSD.m": 1.0, "BTCUSD.m": 0.6}
STRATEGIES: Final = (
    "trend_continuation_pullback",
    "order_block_rejection",
    "breakout_ib_volatility_trap",
    "mean_reversion_range_scalp",
)


@dataclass(slots=True)
class SecondTrader:
    """What the program remembers."""

    client: httpx.AsyncClient
    console: Console
    strategies: Any = field(default_factory=lambda: cycle(STRATEGIES))
    sides: Any = field(default_factory=lambda: cycle(("buy", "sell")))
    tried: set[int] = field(default_factory=set)
    """Positions that were put under Intelligent Exit, or refused."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Trade until ``stopping`` is set."""
        while not stopping.is_set():
            try:
                await self.look()
            except httpx.TransportError as error:
                self.console.print(f"[dim]the main API does not answer: {error}[/]")
            try:
                await asyncio.wait_for(stopping.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Do what is missing."""
        answer = await self.client.get("/api/v1/positions")
        if answer.status_code != httpx.codes.OK:
            return
        positions: Sequence[Mapping[str, Any]] = answer.json()["positions"]
        await self._protect(positions)
        for symbol, lots in LOTS.items():
            atr = await self._atr(symbol)
            if atr is None:
                continue
            held = [p for p in positions if p["symbol"] == symbol and p["managed_by"] == UNIVERSAL]
            if len(held) < OPEN_MAX:
                await self._execute(symbol, lots, atr)
            if len(held) < PLANNED_MAX:
                await self._plan(symbol, lots, atr)

    async def _protect(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Put every second position that DTMS defends under profit protection as well."""
        for position in positions:
            ticket = int(position["ticket"])
            if position["managed_by"] == DTMS and ticket not in self.tried:
                self.tried.add(ticket)
                if ticket % 2:
                    self._tell(await self.client.post(f"/mt5/intelligent_exits/{ticket}", json={}))

    async def _execute(self, symbol: str, lots: float, atr: float) -> None:
        quote, side = await self._price(symbol), next(self.sides)
        sign = 1 if side == "buy" else -1
        entry = quote["ask"] if side == "buy" else quote["bid"]
        body = {
            "symbol": symbol,
            "direction": side,
            "volume": lots,
            "stop_loss": round(entry - sign * STOP_ATR * atr, quote["digits"]),
            "take_profit": round(entry + sign * TARGET_ATR * atr, quote["digits"]),
            "strategy_type": next(self.strategies),
        }
        self._tell(await self.client.post("/mt5/execute", json=body))

    async def _plan(self, symbol: str, lots: float, atr: float) -> None:
        """Keep one plan waiting: to buy a little below the market."""
        answer = await self.client.get("/auto-execution/plans", params={"status": "pending"})
        if answer.status_code != httpx.codes.OK or any(p["symbol"] == symbol for p in answer.json()["plans"]):
            return
        quote = await self._price(symbol)
        entry = round(quote["ask"] - BACK_ATR * atr, quote["digits"])
        body = {
            "symbol": symbol,
            "direction": "buy",
            "entry": entry,
            "stop_loss": round(entry - STOP_ATR * atr, quote["digits"]),
            "take_profit": round(entry + TARGET_ATR * atr, quote["digits"]),
            "volume": lots,
            "conditions": {"all": [{"name": "price_near", "price": entry, "tolerance": 0.2 * atr}]},
            "notes": "buys a pullback",
        }
        self._tell(await self.client.post("/auto-execution/plans", json=body))

    async def _price(self, symbol: str) -> Mapping[str, Any]:
        answer = await self.client.get(f"/api/v1/price/{symbol}")
        quote: Mapping[str, Any] = answer.raise_for_status().json()
        return quote

    async def _atr(self, symbol: str) -> float | None:
        """Return the mean range of the last quarter-hours."""
        answer = await self.client.get(f"/api/v1/candles/{symbol}/M15", params={"limit": 14})
        if answer.status_code != httpx.codes.OK:
            return None
        ranges = [c["high"] - c["low"] for c in answer.json()["candles"]]
        return sum(ranges) / len(ranges) if ranges and sum(ranges) > 0 else None

    def _tell(self, answer: httpx.Response) -> None:
        body = answer.json()
        told = escape(str(body.get("summary") or body.get("message")))
        style = "bold" if answer.is_success else "dim"
        self.console.print(f"[{style}]{told}[/]")

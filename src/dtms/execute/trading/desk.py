"""What trading needs at hand, shared by all that serves the main API's requests, and how its facts are worded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from dtms.domain.actions import Intent, Outcome
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.market import Instrument, Tick
from dtms.domain.position import Position
from dtms.execute.carrying import Carrier
from dtms.execute.journal import Journal, action_details, describe
from dtms.execute.leases import Leases
from dtms.execute.trading.handing import Letters, NobodyTakes, Taker
from dtms.execute.trading.rails import Rails
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store


@dataclass(slots=True, eq=False)
class Turns:
    """Lets requests under one outside lease act one after the other: its holder may send several at once."""

    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Kept by those who wait for them."""

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingDesk:
    """The ports, what carries requests out, and to whom their results are handed."""

    broker: Broker
    store: Store
    clock: Clock
    leases: Leases
    carrier: Carrier
    journal: Journal
    rails: Rails
    letters: Letters
    taker: Taker = field(default_factory=NobodyTakes)
    turns: Turns = field(default_factory=Turns)

    async def instrument(self, symbol: str) -> Instrument:
        """Return a symbol's specification.

        Raises:
            TradingRefused: when the broker has no such symbol.
        """
        instrument = await self.broker.instrument(symbol)
        if instrument is None:
            told = f"The broker does not know {symbol}."
            raise TradingRefused(Code.INVALID, told, {"symbol": symbol, "rule": "unknown_symbol"})
        return instrument

    async def tick(self, symbol: str) -> Tick:
        """Return a symbol's newest quote.

        Raises:
            TradingRefused: when there is none that makes sense.
        """
        return sound(symbol, (await self.broker.quotes([symbol])).get(symbol))

    async def position(self, ticket: int) -> Position:
        """Return a position as the broker lists it.

        Raises:
            TradingRefused: when it lists none.
        """
        position = (await self.broker.positions([ticket])).get(ticket)
        if position is None:
            raise TradingRefused(Code.NOT_FOUND, f"The broker has no position {ticket}.", {"ticket": ticket})
        return position

    def action(self, intent: Intent, outcome: Outcome, ticket: int | None, details: dict[str, Json]) -> Fact:
        """Make the fact that tells how a request ended."""
        why = f" ({outcome.reason})" if outcome.reason else ""
        told = f"{describe(intent.action)}: {outcome.ending.value.replace('_', ' ')}{why}"
        figures = {**action_details(intent, outcome), "asker": intent.asker.value, **details}
        return self.fact(FactKind.ACTION, told, ticket, intent.action.symbol, figures, intent.correlation_id)

    def fact(
        self,
        kind: FactKind,
        told: str,
        ticket: int | None,
        symbol: str | None,
        details: dict[str, Json],
        correlation_id: str | None,
    ) -> Fact:
        """Make a fact of one ticket."""
        made = self.journal.fact(kind, told, details=details, correlation_id=correlation_id)
        return replace(made, ticket=ticket, symbol=symbol)


def sound(symbol: str, tick: Tick | None) -> Tick:
    """Return a quote that makes sense.

    Raises:
        TradingRefused: for a symbol that is not quoted now.
    """
    if tick is None or not tick.is_sound:
        raise TradingRefused(Code.NOT_READY, f"{symbol} has no sound quote now.", {"symbol": symbol, "rule": "quote"})
    return tick

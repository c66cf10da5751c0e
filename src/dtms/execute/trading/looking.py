"""The broker's view as the main API shows it: positions with their managers, pending orders, prices and bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtms.domain.actions import Intent
from dtms.domain.market import Bars, Instrument, Timeframe
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Owner, State
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.service import Code, OrderSeen, PositionSeen, Price, TradingRefused
from dtms.ports.broker import BarRequest

BARS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class _Managers:
    """Whose tickets are, read for all of them at once."""

    owned: Mapping[int, Ownership]
    states: Mapping[int, State]

    def of(self, *tickets: int) -> tuple[str, State | None]:
        """Return manager and DTMS's state of the first of these tickets that somebody knows."""
        for ticket in tickets:
            row, state = self.owned.get(ticket), self.states.get(ticket)
            if row is not None and not (row.manager is Owner.DTMS and state is None):
                return row.owner, state
            if state is not None:
                return Owner.DTMS.value, state
        return Owner.NOBODY.value, None


class Looking:
    """Shows; changes nothing."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk
        self._families: dict[int, int | None] = {}
        """Number of an intent → the trade that it served, None for one that opened a trade of its own."""

    async def positions(self, symbol: str | None) -> Sequence[PositionSeen]:
        """Return the positions, oldest first, each with its manager."""
        look = await self._desk.broker.snapshot([])
        found = sorted(look.positions.values(), key=lambda p: (p.opened_ms, p.ticket))
        wanted = [p for p in found if symbol in (None, p.symbol)]
        families = {p.ticket: await self._family(p) for p in wanted}
        tickets = {t for p in wanted for t in (p.ticket, p.identifier)} | {t for t in families.values() if t}
        managers = await self._managers(sorted(tickets))
        return [_seen(p, families[p.ticket], managers) for p in wanted]

    async def _managers(self, tickets: Sequence[int]) -> _Managers:
        store = self._desk.store
        owned = {row.ticket: row for row in await store.ownerships(tickets)} if tickets else {}
        return _Managers(owned, await store.states(tickets) if tickets else {})

    async def _family(self, position: Position) -> int | None:
        """Return the trade that a position serves, by its number: an intent never changes what it is for."""
        number = self._desk.broker.number_in(position.magic, position.comment)
        if number is None:
            return None
        if number not in self._families:
            intent = await self._desk.store.intent(number)
            if intent is None:
                return None
            self._families[number] = _served(intent)
        served = self._families[number]
        return None if served in (position.ticket, position.identifier) else served

    async def orders(self, symbol: str | None) -> Sequence[OrderSeen]:
        """Return the orders that wait for their price, oldest first."""
        look = await self._desk.broker.snapshot([])
        waiting = [o for o in look.orders if o.kind.is_pending and symbol in (None, o.symbol)]
        waiting.sort(key=lambda o: (o.set_up_ms, o.ticket))
        return [OrderSeen(order=o, intent=self._desk.broker.number_in(o.magic, o.comment)) for o in waiting]

    async def price(self, symbol: str) -> Price:
        return Price(instrument=await self._known(symbol), tick=await self._desk.tick(symbol))

    async def candles(self, symbol: str, timeframe: Timeframe, count: int) -> Bars:
        """Return the newest closed bars.

        Raises:
            TradingRefused: for too many of them, or a symbol that the broker has not.
        """
        if not 1 <= count <= BARS_MAX:
            told = f"count must lie in 1 to {BARS_MAX}."
            raise TradingRefused(Code.INVALID, told, {"field": "count", "rule": "count"})
        await self._known(symbol)
        (bars,) = await self._desk.broker.bars([BarRequest(symbol=symbol, timeframe=timeframe, count=count)])
        return bars

    async def _known(self, symbol: str) -> Instrument:
        instrument = await self._desk.broker.instrument(symbol)
        if instrument is None:
            raise TradingRefused(Code.NOT_FOUND, f"The broker does not know {symbol}.", {"symbol": symbol})
        return instrument


def _served(intent: Intent) -> int | None:
    return None if intent.action.kind.opens_trade else intent.ticket


def _seen(position: Position, family: int | None, managers: _Managers) -> PositionSeen:
    tickets = (position.ticket, position.identifier) if family is None else (position.ticket, family)
    managed_by, state = managers.of(*tickets)
    return PositionSeen(position=position, managed_by=managed_by, dtms_state=state, of_trade=family)

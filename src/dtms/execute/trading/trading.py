"""What the main API's requests do, put together."""

from collections.abc import Sequence

from dtms.domain.account import Account
from dtms.domain.market import Bars, Timeframe
from dtms.domain.trade import Mode
from dtms.execute.service import Receipt
from dtms.execute.trading.cancelling import Cancelling
from dtms.execute.trading.changing import Changing
from dtms.execute.trading.closing import Ender
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.executing import Executing, Terms
from dtms.execute.trading.leasing import Leasing
from dtms.execute.trading.looking import Looking
from dtms.execute.trading.modifying import Modifying
from dtms.execute.trading.owning import Owning
from dtms.execute.trading.registry import Registry
from dtms.execute.trading.requests import Cancelled, Closed, Closing, Executed, Execution, Modification, Modified
from dtms.execute.trading.service import (
    Begin,
    Changed,
    Conclude,
    Entry,
    Leased,
    OrderSeen,
    OwnerChange,
    PositionSeen,
    Price,
    nothing_begins,
    nothing_follows,
)


class MainTrading:
    """Fulfil ``Trading`` on one desk."""

    def __init__(self, desk: TradingDesk) -> None:
        changing = Changing(desk)
        self._desk = desk
        self._executing = Executing(desk)
        self._cancelling = Cancelling(desk)
        self._modifying = Modifying(changing)
        self._ender = Ender(changing)
        self._registry = Registry(desk)
        self._owning = Owning(desk, self._registry)
        self._leasing = Leasing(desk)
        self._looking = Looking(desk)

    async def execute(
        self,
        request: Execution,
        *,
        guarded: bool = False,
        begin: Begin = nothing_begins,
        conclude: Conclude = nothing_follows,
        mode: Mode | None = None,
        receipt: Receipt[Executed] | None = None,
    ) -> Executed:
        terms = Terms(guarded=guarded, begin=begin, conclude=conclude, mode=mode, receipt=receipt)
        return await self._executing.execute(request, terms)

    async def cancel(self, number: int, *, by_person: bool = False, correlation_id: str | None = None) -> Cancelled:
        return await self._cancelling.cancel(number, by_person=by_person, correlation_id=correlation_id)

    async def modify(self, request: Modification, *, receipt: Receipt[Modified] | None = None) -> Modified:
        return await self._modifying.modify(request, receipt)

    async def close(self, request: Closing, *, receipt: Receipt[Closed] | None = None) -> Closed:
        return await self._ender.close(request, receipt)

    async def entry(self, ticket: int, *, fresh: bool = False) -> Entry:
        return await self._registry.entry(ticket, fresh=fresh)

    async def change_owner(self, change: OwnerChange) -> Changed:
        return await self._owning.change(change)

    async def lease(self, ticket: int, holder: str, token: int | None = None) -> Leased:
        return await self._leasing.lease(ticket, holder, token)

    async def release_lease(self, ticket: int, holder: str, token: int) -> None:
        await self._leasing.release(ticket, holder, token)

    async def account(self) -> Account:
        return await self._desk.broker.account()

    async def positions(self, *, symbol: str | None = None) -> Sequence[PositionSeen]:
        return await self._looking.positions(symbol)

    async def orders(self, *, symbol: str | None = None) -> Sequence[OrderSeen]:
        return await self._looking.orders(symbol)

    async def price(self, symbol: str) -> Price:
        return await self._looking.price(symbol)

    async def candles(self, symbol: str, timeframe: Timeframe, count: int) -> Bars:
        return await self._looking.candles(symbol, timeframe, count)

"""The broker's view: account, positions, orders, prices and closed bars."""

from typing import Annotated, Final

from fastapi import Path, Query
from starlette.responses import Response

from dtms.domain.market import Timeframe
from dtms.execute.trading.service import Trading
from dtms.server.answers import JsonAnswer
from dtms.server.errors import invalid
from dtms.server.params import SymbolQuery
from dtms.views.main import account_view, candles_view, orders_view, positions_view, price_view
from dtms.wire import SYMBOL_PATTERN

CANDLES: Final = 200
CANDLES_MAX: Final = 2000
SymbolPath = Annotated[str, Path(pattern=SYMBOL_PATTERN)]
CountQuery = Annotated[int, Query(ge=1, le=CANDLES_MAX)]


def timeframe_of(word: str) -> Timeframe:
    """Read a timeframe's name, in any case.

    Raises:
        Problem: 422 with the names that there are.
    """
    try:
        return Timeframe[word.upper()]
    except KeyError:
        names = ", ".join(Timeframe.__members__)
        told = {"loc": ("path", "timeframe"), "msg": f"must be one of {names}", "type": "enum"}
        raise invalid([told]) from None


class BookRoutes:
    """Reads of the broker's books."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading

    async def account(self) -> Response:
        """Show the account."""
        return JsonAnswer(account_view(await self._trading.account()))

    async def positions(self, symbol: SymbolQuery = None) -> Response:
        """Show open positions with their managers."""
        return JsonAnswer(positions_view(await self._trading.positions(symbol=symbol)))

    async def orders(self, symbol: SymbolQuery = None) -> Response:
        """Show orders that wait for their price."""
        return JsonAnswer(orders_view(await self._trading.orders(symbol=symbol)))

    async def price(self, symbol: SymbolPath) -> Response:
        """Show a symbol's newest quote."""
        return JsonAnswer(price_view(await self._trading.price(symbol)))

    async def candles(
        self, symbol: SymbolPath, timeframe: Annotated[str, Path(max_length=8)], limit: CountQuery = CANDLES
    ) -> Response:
        """Show the newest closed bars, oldest first."""
        return JsonAnswer(candles_view(await self._trading.candles(symbol, timeframe_of(timeframe), limit)))

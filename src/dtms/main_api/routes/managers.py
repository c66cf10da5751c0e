"""Positions of the Universal SL/TP manager and of Intelligent Exit."""

from typing import Final

from fastapi import Request
from pydantic import TypeAdapter
from starlette.responses import Response

from dtms.domain.trade import Owner
from dtms.execute.managing.managers import Managers
from dtms.main_api.bodies_managers import UniversalRequest
from dtms.server.access import read_body
from dtms.server.answers import JsonAnswer
from dtms.server.correlation import correlation_id
from dtms.server.params import LimitQuery, TicketPath
from dtms.views.main_managers import (
    explain_view,
    history_view,
    list_view,
    live_view,
    statistics_view,
    strategies_view,
    taken_view,
)

HISTORY: Final = 100
_UNIVERSAL: Final = TypeAdapter(UniversalRequest)


class UniversalRoutes:
    """The Universal SL/TP manager's routes."""

    def __init__(self, managers: Managers) -> None:
        self._managers = managers

    async def manage_trade(self, request: Request) -> Response:
        """Give a position to the Universal manager; one that it has already is answered as it is."""
        body = await read_body(request, _UNIVERSAL)
        correlation = correlation_id(request)
        managed = await self._managers.register_universal(body.ticket, body.strategy_type, correlation)
        return JsonAnswer(taken_view(managed))

    async def release_trade(self, request: Request, ticket: TicketPath) -> Response:
        """Take a position out of the Universal manager's hands; nothing is closed."""
        managed = await self._managers.unregister_universal(ticket, correlation_id(request))
        return JsonAnswer(taken_view(managed, ended=True))

    async def managed_trades(self) -> Response:
        """List the Universal manager's positions."""
        return JsonAnswer(list_view(Owner.UNIVERSAL, self._managers.universal()))

    async def managed_trade(self, ticket: TicketPath) -> Response:
        """Show one of the Universal manager's positions."""
        return JsonAnswer(live_view(self._managers.live(Owner.UNIVERSAL, ticket)))

    async def explain_trade(self, ticket: TicketPath) -> Response:
        """Tell how the Universal manager sees a position now, and what it waits for."""
        return JsonAnswer(explain_view(self._managers.live(Owner.UNIVERSAL, ticket)))

    async def strategies(self) -> Response:
        """Show the strategies, each with its figures."""
        return JsonAnswer(strategies_view())


class ExitRoutes:
    """Intelligent Exit's routes."""

    def __init__(self, managers: Managers) -> None:
        self._managers = managers

    async def protect(self, request: Request, ticket: TicketPath) -> Response:
        """Put a position under profit protection; one that has it already is answered as it is."""
        return JsonAnswer(taken_view(await self._managers.enable_exits(ticket, correlation_id(request))))

    async def end_protection(self, request: Request, ticket: TicketPath) -> Response:
        """End the profit protection of a position."""
        managed = await self._managers.disable_exits(ticket, correlation_id(request))
        return JsonAnswer(taken_view(managed, ended=True))

    async def protected(self) -> Response:
        """List the positions under profit protection, and what each waits for."""
        return JsonAnswer(list_view(Owner.EXITS, self._managers.exits()))

    async def protection_history(self, ticket: TicketPath, limit: LimitQuery = None) -> Response:
        """Show what Intelligent Exit recorded of a position, newest last."""
        return JsonAnswer(history_view(ticket, await self._managers.history(Owner.EXITS, ticket, limit or HISTORY)))

    async def protection_statistics(self) -> Response:
        """Show what Intelligent Exit has in hand and has done."""
        return JsonAnswer(statistics_view(Owner.EXITS, await self._managers.statistics(Owner.EXITS)))

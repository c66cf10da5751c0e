"""Register, disable and show trades."""

from collections.abc import Sequence
from typing import Final

from fastapi import HTTPException, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from dtms.domain.facts import Json
from dtms.domain.trade import Trade
from dtms.execute.service import Live
from dtms.ports.store import Page
from dtms.server.access import read_body
from dtms.server.answers import ErrorCode, JsonAnswer, Problem
from dtms.server.correlation import correlation_id
from dtms.server.params import (
    CursorQuery,
    LimitQuery,
    StateQuery,
    SymbolQuery,
    TicketPath,
    TicketsQuery,
    states_of,
    tickets_of,
)
from dtms.server.routes.deps import Deps
from dtms.views.trade import Surroundings, disabled_view, registered_view, trade_view
from dtms.wire import DisableRequest, EnableRequest

PAGE: Final = 100
_ENABLE: Final = TypeAdapter(EnableRequest)
_DISABLE: Final = TypeAdapter(DisableRequest)


def not_registered(ticket: int) -> Problem:
    return Problem(ErrorCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})


class TradeRoutes:
    """The routes of one trade and of many."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def enable(self, request: Request) -> Response:
        """Register one trade for protection; idempotent."""
        body = await read_body(request, _ENABLE)
        answer = await self._deps.service.register(body.registration(correlation_id(request)))
        return JsonAnswer(registered_view(answer))

    async def enable_is_posted(self) -> Response:
        """Refuse to read what can only be posted; without this the path would be read as a ticket's."""
        raise HTTPException(405, headers={"Allow": "POST"})

    async def disable(self, request: Request, ticket: TicketPath) -> Response:
        """Stop monitoring a trade until it is enabled again; idempotent."""
        body = await read_body(request, _DISABLE)
        trade = await self._deps.service.disable(
            ticket, close_hedge=body.close_hedge, correlation_id=correlation_id(request)
        )
        return JsonAnswer(disabled_view(trade))

    async def trade(self, ticket: TicketPath) -> Response:
        """Show one trade, active or closed."""
        health = self._deps.service.health()
        live = self._deps.service.live(ticket) if health.ready else None
        stored = live.trade if live else await self._deps.store.trade(ticket)
        if stored is None:
            raise not_registered(ticket)
        return JsonAnswer(await self._view(stored, live, self._deps.surroundings(health)))

    async def trades(
        self,
        state: StateQuery = None,
        symbol: SymbolQuery = None,
        tickets: TicketsQuery = None,
        cursor: CursorQuery = None,
        limit: LimitQuery = None,
    ) -> Response:
        """Show a page of trades: active ones unless ``state`` says otherwise."""
        asked, states, size = tickets_of(tickets), states_of(state), limit or PAGE
        health = self._deps.service.health()
        page = self._watched(asked, size) if asked and health.ready and not (states or symbol or cursor) else None
        if page is None:
            page = await self._deps.store.trades(states=states, symbol=symbol, tickets=asked, after=cursor, limit=size)
        around = self._deps.surroundings(health)
        shown: list[Json] = []
        for stored in page.trades:
            live = self._deps.service.live(stored.ticket) if health.ready else None
            shown.append(await self._view(live.trade if live else stored, live, around))
        more = "" if page.next_cursor is None else "; there are more"
        return JsonAnswer(
            {
                "success": True,
                "summary": f"{len(shown)} trade{'' if len(shown) == 1 else 's'}{more}.",
                "trades": shown,
                "next_cursor": page.next_cursor,
                "stale": around.stale,
                "error": None,
            }
        )

    def _watched(self, tickets: Sequence[int], limit: int) -> Page | None:
        """Answer from memory, which is how others ask for many states at once; None when it does not hold them all."""
        found = [live.trade for ticket in dict.fromkeys(tickets) if (live := self._deps.service.live(ticket))]
        if len(found) < len(set(tickets)) or len(found) > limit:
            return None
        return Page(trades=sorted(found, key=lambda t: (t.registered_ms, t.ticket)), next_cursor=None)

    async def _view(self, trade: Trade, live: Live | None, around: Surroundings) -> dict[str, Json]:
        record = await self._deps.records.of(trade, live, self._deps.clock.market_ms())
        return trade_view(trade, live, record, around)

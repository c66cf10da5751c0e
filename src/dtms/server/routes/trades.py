"""Show trades."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from dtms.domain.facts import Json
from dtms.domain.trade import Trade
from dtms.execute.service import Live, Pending
from dtms.ports.store import Page
from dtms.server.answers import ErrorCode, JsonAnswer, Problem
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
from dtms.views.registering import pending_words
from dtms.views.trade import Surroundings, trade_view

PAGE: Final = 100


def not_registered(ticket: int, pending: Pending | None = None) -> Problem:
    """Say that there is no such trade, and until when a registration waits for it to become one."""
    details: dict[str, Json] = {"ticket": ticket}
    message = f"Ticket {ticket} is not registered."
    if pending is not None:
        details["pending"] = pending_words(pending)
        message = f"Ticket {ticket} is not yet a trade: its registration waits for the broker to list the position."
    return Problem(ErrorCode.TRADE_NOT_FOUND, message, details)


class TradeRoutes:
    """The routes of one trade and of many."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def trade(self, ticket: TicketPath) -> Response:
        """Show one trade, active or closed."""
        health = self._deps.service.health()
        live = self._deps.service.live(ticket) if health.ready else None
        stored = live.trade if live else await self._deps.stored(ticket)
        if stored is None:
            raise not_registered(ticket, self._deps.service.pending(ticket))
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
        asked, states, size = self._registered(tickets_of(tickets)), states_of(state), limit or PAGE
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

    def _registered(self, tickets: Sequence[int] | None) -> list[int] | None:
        return None if tickets is None else list(dict.fromkeys(map(self._deps.registered, tickets)))

    def _watched(self, tickets: Sequence[int], limit: int) -> Page | None:
        """Answer from memory, which is how others ask for many states at once; None when it does not hold them all."""
        found = [live.trade for ticket in tickets if (live := self._deps.service.live(ticket))]
        if len(found) < len(tickets) or len(found) > limit:
            return None
        return Page(trades=sorted(found, key=lambda t: (t.registered_ms, t.ticket)), next_cursor=None)

    async def _view(self, trade: Trade, live: Live | None, around: Surroundings) -> dict[str, Json]:
        record = await self._deps.records.of(trade, live, self._deps.clock.market_ms())
        return trade_view(trade, live, record, around)

"""What was, and why: a trade's history, the explanation of its score, and the actions."""

from typing import Final

from starlette.responses import Response

from dtms.domain.facts import FactKind
from dtms.domain.trade import Trade
from dtms.ports.store import Evaluation
from dtms.server.answers import JsonAnswer
from dtms.server.params import CursorQuery, LimitQuery, MomentQuery, TicketPath, TicketQuery, moment_ms
from dtms.server.routes.deps import Deps
from dtms.server.routes.trades import not_registered
from dtms.views.explain import Explained, explain_view, thresholds_at
from dtms.views.journal import Page, history_view, standing_at
from dtms.views.system import actions_view

ACTIONS_PAGE: Final = 10
_HISTORY_MAX: Final = 2_000
_ACTION: Final = frozenset({FactKind.ACTION.value})
_SETTINGS: Final = frozenset({FactKind.SETTINGS_CHANGED.value})
_BAR_BEFORE_MS: Final = 15 * 60_000
"""A trade is first scored on the bar that had closed when it was registered."""


class JournalRoutes:
    """Reads over facts and evaluations."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def history(self, ticket: TicketPath) -> Response:
        """Show score, state, stop and price over time, and what was done and not done."""
        trade, stale = await self._trade(ticket)
        facts = await self._deps.store.facts(ticket=trade.ticket, limit=_HISTORY_MAX, newest=True)
        evaluations = await self._evaluations(trade, self._deps.clock.market_ms(), _HISTORY_MAX)
        page = Page(facts=facts, evaluations=evaluations, truncated=_HISTORY_MAX in (len(facts), len(evaluations)))
        return JsonAnswer(history_view(trade, page, stale=stale))

    async def explain(self, ticket: TicketPath, at: MomentQuery = None) -> Response:
        """Break the score down by layer in words, now or at a past moment."""
        trade, stale = await self._trade(ticket)
        now_ms = self._deps.clock.market_ms()
        at_ms = min(moment_ms(at), now_ms) if at is not None else now_ms
        explained = await (self._past(trade, at_ms) if at_ms < now_ms else self._present(trade, now_ms))
        return JsonAnswer(explain_view(explained, stale=stale))

    async def actions(
        self,
        ticket: TicketQuery = None,
        since: MomentQuery = None,
        limit: LimitQuery = None,
        cursor: CursorQuery = None,
    ) -> Response:
        """Show actions, newest last: the last ones, or those after ``since`` or ``cursor``."""
        size = limit or ACTIONS_PAGE
        ticket = None if ticket is None else self._deps.registered(ticket)
        newest = since is None and cursor is None
        facts = await self._deps.store.facts(
            ticket=ticket,
            kinds=_ACTION,
            since_ms=moment_ms(since) if since is not None else None,
            after=cursor,
            limit=size if newest else size + 1,
            newest=newest,
        )
        shown = facts[:size]
        more = shown[-1].id if len(facts) > size else None
        total = await self._deps.store.count_facts(_ACTION, ticket)
        return JsonAnswer(actions_view(shown, total, more, stale=not self._deps.service.health().ready))

    async def _trade(self, ticket: int) -> tuple[Trade, bool]:
        ready = self._deps.service.health().ready
        live = self._deps.service.live(ticket) if ready else None
        trade = live.trade if live else await self._deps.stored(ticket)
        if trade is None:
            raise not_registered(ticket, self._deps.service.pending(ticket))
        return trade, not ready

    async def _evaluations(self, trade: Trade, until_ms: int, limit: int) -> list[Evaluation]:
        until_ms = min(until_ms, trade.closed_ms or until_ms)
        found = await self._deps.store.evaluations(
            trade.symbol,
            trade.side.direction,
            from_ms=trade.registered_ms - _BAR_BEFORE_MS,
            to_ms=until_ms,
            limit=limit,
            newest=True,
        )
        return list(found)

    async def _present(self, trade: Trade, now_ms: int) -> Explained:
        live = self._deps.service.live(trade.ticket)
        if live is None or live.view is None:
            stored = await self._evaluations(trade, now_ms, 1)
            body, bar_ms = (stored[-1].body, stored[-1].bar_ms) if stored else (None, None)
        else:
            body, bar_ms = live.view.as_json(trade.side), live.view.m5_close_ms
        return Explained(
            trade=trade,
            at_ms=now_ms,
            state=trade.state.value,
            bar_ms=bar_ms,
            body=body,
            thresholds=thresholds_at(self._deps.service.settings.protection, ()),
            past=False,
        )

    async def _past(self, trade: Trade, at_ms: int) -> Explained:
        stored = await self._evaluations(trade, at_ms, 1)
        facts = await self._deps.store.facts(ticket=trade.ticket, until_ms=at_ms, limit=_HISTORY_MAX, newest=True)
        later = await self._deps.store.facts(kinds=_SETTINGS, since_ms=at_ms, limit=_HISTORY_MAX)
        return Explained(
            trade=trade,
            at_ms=at_ms,
            state=standing_at(trade, [f for f in facts if f.market_ms <= at_ms]).state,
            bar_ms=stored[-1].bar_ms if stored else None,
            body=stored[-1].body if stored else None,
            thresholds=thresholds_at(self._deps.service.settings.protection, [f for f in later if f.market_ms > at_ms]),
            past=True,
        )

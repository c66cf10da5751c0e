"""What became of plans after they fired, told by their intents and by the broker's books: filled, gone, closed.

Absence proves nothing: an order counts as gone, and a position as closed, when the broker's history says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dtms.decide.plans_status import moved
from dtms.domain.errors import BrokerUnavailable, ChangedMeanwhile, PermissionGone, StoreFailed
from dtms.domain.owners import Ownership
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.position import Deal, DealEntry, Position
from dtms.domain.snapshot import Evidence, Snapshot
from dtms.domain.trade import Owner
from dtms.execute.managing.presence import closed_by
from dtms.execute.managing.steps import Look
from dtms.execute.planning import outcomes
from dtms.execute.planning.board import Board, Card, reread
from dtms.execute.planning.desk import PlanDesk
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

ASK_MS = 2_000
ASK_SLOWLY_MS = 30_000
"""Market time between two questions for the history of what is not listed: at first, and after a minute."""
PATIENT_MS = 60_000
EARLIER_MS = 60_000
"""The broker's clock may lie behind ours by less than this."""
OPENINGS = frozenset({DealEntry.IN, DealEntry.INOUT})


@dataclass(frozen=True, slots=True)
class _Books:
    """A look at the broker, as plans find themselves in it."""

    by_number: Mapping[int, Position]
    by_identifier: Mapping[int, Position]
    orders: frozenset[int]
    """Tickets of orders that wait."""


class Following:
    """Keeps fired plans true to store and broker."""

    def __init__(self, desk: PlanDesk, board: Board) -> None:
        self._desk = desk
        self._board = board

    async def run(self, look: Look) -> None:
        """Take every fired plan as far as it went."""
        fired = self._board.with_status(
            PlanStatus.EXECUTING, PlanStatus.PENDING_ORDER_PLACED, PlanStatus.EXECUTED, PlanStatus.PENDING
        )
        if not fired:
            return
        books = self._books(look.snapshot)
        for card in fired:
            await self._isolated(card, books, look)

    async def _isolated(self, card: Card, books: _Books, look: Look) -> None:
        """Follow one plan; what goes wrong with it is logged once, and leaves the others alone."""
        try:
            await self._follow(card, books, look)
        except (BrokerUnavailable, StoreFailed, PermissionGone):
            raise
        except Exception as error:  # the edge of one plan
            told = f"{type(error).__name__}: {error}"
            if card.failed != told:
                log.error("plan_not_followed", plan=card.plan.id, exc_info=error)
            card.failed = told
        else:
            card.failed = None

    async def _follow(self, card: Card, books: _Books, look: Look) -> None:
        match card.plan.status:
            case PlanStatus.EXECUTING:
                await self._executing(card, look)
            case PlanStatus.PENDING_ORDER_PLACED:
                await self._resting(card, books, look)
            case PlanStatus.EXECUTED:
                await self._executed(card, books, look)
            case _:
                await self._late(card, books, look)

    def _books(self, snapshot: Snapshot) -> _Books:
        numbers, positions = self._desk.broker.number_in, snapshot.positions.values()
        named = ((numbers(p.magic, p.comment), p) for p in positions)
        return _Books(
            by_number={number: p for number, p in named if number is not None},
            by_identifier={p.identifier: p for p in positions},
            orders=frozenset(order.ticket for order in snapshot.orders),
        )

    # --- the intent tells ----------------------------------------------------------------------------------------

    async def _executing(self, card: Card, look: Look) -> None:
        """Resolve a plan by its intent, which was committed with its step."""
        if not self._is_time(card, look.now_ms):
            return
        row = await self._desk.store.plan(card.plan.id)
        if row is not None and row.version != card.plan.version:
            self._board.put(row)
            return
        intent = await self._desk.store.intent(card.plan.intent or 0)
        if intent is None or intent.state.is_open:
            return
        seen = await self._desk.broker.evidence(intent.number, card.plan.symbol, intent.created_ms, order=intent.order)
        plan = outcomes.resolved(card.plan, intent, self._opened(intent.number, seen), look.now_ms)
        if plan is not None and plan.status is PlanStatus.EXECUTED and plan.ticket is None:
            plan = outcomes.with_ticket(plan, self._deal(intent.number, intent.order, seen))
        if plan is not None:
            await self._commit(plan)

    def _opened(self, number: int, seen: Evidence) -> Sequence[Position]:
        return [p for p in seen.positions if self._desk.broker.number_in(p.magic, p.comment) == number]

    def _deal(self, number: int, order: int | None, seen: Evidence) -> Deal | None:
        """Return the deal by which an intent opened a position."""
        named = self._desk.broker.number_in
        opening = [d for d in seen.deals if d.entry in OPENINGS]
        by_order = [d for d in opening if order is not None and d.order == order]
        return next((d for d in opening if named(d.magic, d.comment) == number), next(iter(by_order), None))

    # --- the broker tells ----------------------------------------------------------------------------------------

    async def _resting(self, card: Card, books: _Books, look: Look) -> None:
        """See whether a resting order was filled, or is gone."""
        plan = card.plan
        position = books.by_number.get(plan.intent or 0) or books.by_identifier.get(plan.order or 0)
        if position is not None:
            await self._filled(plan, position, look.now_ms)
        elif plan.order not in books.orders and self._is_time(card, look.now_ms):
            await self._gone(plan, look.now_ms)

    async def _filled(self, plan: Plan, position: Position, now_ms: int) -> None:
        row = await self._owed(position, plan)
        await self._commit(outcomes.filled(plan, position, now_ms), () if row is None else (row,))

    async def _owed(self, position: Position, plan: Plan) -> Ownership | None:
        """Return the entry that gives a filled order's position to the Universal manager, unless it has an owner."""
        standing = await self._desk.store.standing(position.ticket)
        if standing.owner is not Owner.NOBODY or standing.ownership is not None:
            return None
        account = await self._desk.broker.account()
        return Ownership(
            ticket=position.ticket,
            identifier=position.identifier,
            login=account.login,
            server=account.server,
            symbol=position.symbol,
            side=position.side,
            owner=Owner.UNIVERSAL.value,
            strategy_type=plan.strategy_type,
            since_ms=self._desk.clock.market_ms(),
        )

    async def _gone(self, plan: Plan, now_ms: int) -> None:
        """Conclude from the history what became of an order that does not wait any more."""
        number = plan.intent or 0
        seen = await self._desk.broker.evidence(number, plan.symbol, plan.status_ms - EARLIER_MS, order=plan.order)
        deal = self._deal(number, plan.order, seen)
        opened = self._opened(number, seen)
        if opened:
            await self._filled(plan, opened[0], now_ms)
        elif deal is not None:
            executed = moved(plan, PlanStatus.EXECUTED, now_ms, f"its order was filled at {deal.price:.10g}")
            await self._commit(outcomes.with_ticket(executed, deal))
        elif any(o.ticket == plan.order and o.state.is_final and o.filled == 0 for o in seen.past_orders):
            is_late = now_ms >= plan.expires_ms
            to = PlanStatus.EXPIRED if is_late else PlanStatus.CANCELLED
            await self._commit(moved(plan, to, now_ms, f"its order {plan.order} is gone, unfilled"))

    async def _executed(self, card: Card, books: _Books, look: Look) -> None:
        """Close a plan whose position has its closing deals."""
        plan = card.plan
        held = books.by_identifier.get(plan.ticket or 0)
        is_open = held is not None and held.side is plan.side
        if plan.ticket is None or is_open or not self._is_time(card, look.now_ms):
            return
        deals = await self._desk.broker.deals(position=plan.ticket)
        closed = closed_by(deals, plan.side, self._desk.broker.intent_of)
        if closed is not None:
            told = f"position closed at {closed.price:.10g} ({closed.reason}), profit {closed.money:.2f}"
            await self._commit(moved(plan, PlanStatus.CLOSED, closed.at_ms, told))

    async def _late(self, card: Card, books: _Books, look: Look) -> None:
        """Believe the broker before any proof: what counts as not executed and stands there nevertheless was."""
        number = card.plan.intent
        position = None if number is None else books.by_number.get(number)
        if position is not None and number is not None:
            begun = outcomes.begun(card.plan, number, look.now_ms, "it was executed late")
            await self._filled(replace(begun, version=card.plan.version), position, look.now_ms)

    # --- what all share ------------------------------------------------------------------------------------------

    def _is_time(self, card: Card, now_ms: int) -> bool:
        """Answer whether history and store are to be asked again, and note that they are."""
        is_new = now_ms - card.plan.status_ms < PATIENT_MS
        if now_ms < card.asked_ms + (ASK_MS if is_new else ASK_SLOWLY_MS):
            return False
        card.asked_ms = now_ms
        return True

    async def _commit(self, plan: Plan, ownership: Sequence[Ownership] = ()) -> None:
        """Commit a step with the end of those that it beats."""
        lost = outcomes.beaten(plan, self._board.bracket(plan), self._desk.clock.market_ms())
        facts = tuple(self._desk.step(one) for one in (plan, *lost))
        try:
            await self._desk.store.commit(Unit(plans=(plan, *lost), ownership=ownership, facts=facts))
        except ChangedMeanwhile:
            for one in (plan, *lost):
                await reread(self._desk.store, self._board, one)
            return
        for one in (plan, *lost):
            self._board.put(one)
        self._desk.journal.tell(facts)

"""A plan that is due: its step to executing is committed with its intent, so it fires once whatever crashes.

Before that commit nothing is sent; after it the intent, found by the number that the plan names, tells what became of
it. Whatever comes back from here, the store is asked how the plan stands.
"""

from dataclasses import dataclass, replace

from dtms.decide.plans import Due
from dtms.domain.actions import Intent, OrderWay, Outcome
from dtms.domain.facts import FactKind
from dtms.domain.plans import OrderType, Plan
from dtms.domain.position import Position
from dtms.execute.planning import outcomes
from dtms.execute.planning.board import Board, Card, reread
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.trading.requests import Execution
from dtms.execute.trading.service import TradingRefused
from dtms.ports.store import Unit

WAITS_MAX = 5
"""The pause after a stop doubles so often, at most."""
_WAYS = {OrderType.MARKET: None, OrderType.STOP: OrderWay.STOP, OrderType.LIMIT: OrderWay.LIMIT}


@dataclass(slots=True)
class _Shot:
    """One plan on its way: what is committed with its intents and their outcomes, in turn."""

    desk: PlanDesk
    board: Board
    plan: Plan
    due: Due
    is_begun: bool = False

    def begin(self, number: int) -> Unit:
        now = self.desk.clock.market_ms()
        plan = outcomes.begun(self.plan, number, now, self.due.reason)
        lost = () if self.is_begun else outcomes.beaten(plan, self.board.bracket(plan), now)
        self.plan = plan
        facts = tuple(self.desk.step(one) for one in (plan, *lost))
        return Unit(plans=(plan, *lost), facts=facts)

    def conclude(self, intent: Intent, outcome: Outcome, positions: tuple[Position, ...]) -> Unit:
        self.is_begun = True
        after = outcomes.ended(self.plan, intent, outcome, positions, self.desk.clock.market_ms())
        if after is None:
            return Unit()
        self.plan = after
        return Unit(plans=(after,), facts=(self.desk.step(after),))


class Firing:
    """Executes plans that are due."""

    def __init__(self, desk: PlanDesk, board: Board) -> None:
        self._desk = desk
        self._board = board

    async def fire(self, card: Card, due: Due) -> None:
        """Execute a plan once.

        Raises:
            BrokerUnavailable: when the broker does not answer, and nothing was sent.
            StoreFailed, PermissionGone: when this program may write nothing.
        """
        shot = _Shot(self._desk, self._board, card.plan, due)
        try:
            await self._desk.trading.execute(
                _request(card.plan, due),
                guarded=True,
                begin=shot.begin,
                conclude=shot.conclude,
                mode=self._desk.mode,
            )
        except TradingRefused as refused:
            await reread(self._desk.store, self._board, card.plan)
            await self.hold(card, str(refused.details.get("rule") or refused.code.value), refused.message)
        else:
            card.held, card.stops = None, 0
            await reread(self._desk.store, self._board, card.plan)

    async def propose(self, card: Card, due: Due) -> None:
        """Record once what would be done, was it not for the mode."""
        plan = card.plan
        if plan.proposed:
            return
        told = f"plan {plan.id} would execute {plan.side.direction} {plan.symbol}: {due.reason}"
        after = replace(outcomes.noted(plan, f"proposed: {due.reason}"), proposed=True)
        fact = self._desk.fact(after, told, FactKind.PROPOSAL, price=due.price, level=due.level)
        await self._desk.store.commit(Unit(plans=(after,), facts=(fact,)))
        self._board.put(after)

    async def hold(self, card: Card, rule: str, why: str) -> None:
        """Let a plan wait that is stopped although it is due; told once per rule, tried again ever later."""
        plan, settings = card.plan, self._desk.settings().plans
        pause_s = settings.check_s * 2 ** min(card.stops, WAITS_MAX)
        card.stops += 1
        card.not_before_ms = self._desk.clock.market_ms() + int(pause_s * 1000)
        if card.held == rule or not plan.status.is_open:
            return
        card.held = rule
        after = outcomes.noted(plan, why)
        fact = self._desk.fact(after, f"plan {plan.id} waits: {why}", rule=rule)
        await self._desk.store.commit(Unit(plans=(after,), facts=(fact,)))
        self._board.put(after)


def _request(plan: Plan, due: Due) -> Execution:
    return Execution(
        symbol=plan.symbol,
        side=plan.side,
        way=_WAYS[plan.order_type],
        entry=due.level,
        stop=plan.stop,
        target=plan.target,
        volume=plan.volume,
        risk_pct=plan.risk_pct,
        strategy_type=plan.strategy_type,
        notes={"reasoning": plan.notes, "level": due.level},
        plan=plan.id,
        correlation_id=plan.correlation_id,
    )

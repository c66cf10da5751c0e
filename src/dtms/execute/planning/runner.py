"""Plans in the main program's loop: all of a symbol judged on one look at its market, every 15 s and near an entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from dtms.decide.conditions import InvalidConditions
from dtms.decide.plans import Cancel, Due, Expire, Judgement, Waits, judge
from dtms.decide.plans_status import moved
from dtms.domain.errors import BrokerUnavailable, ChangedMeanwhile, PermissionGone, StoreFailed
from dtms.domain.market import Tick
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Mode
from dtms.execute.managing.steps import Look, Wants
from dtms.execute.planning.board import Board, Card, reread
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.planning.facts import FactsBook
from dtms.execute.planning.firing import Firing
from dtms.execute.planning.following import Following
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

OPEN = frozenset(status for status in PlanStatus if status.is_open)
OPEN_MAX = 100_000
ACTING_S = 1.0
"""After so long spent with acting the rest waits for the next cycle: quotes and books are read anew before."""


@dataclass(slots=True)
class Counts:
    """What the step did since the program's start; times are market milliseconds."""

    rounds: int = 0
    judged: int = 0
    fired: int = 0
    last_round_ms: int | None = None
    last_run_ms: int | None = None
    halted: bool = False
    mode: Mode | None = None
    stale: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Plans whose stored conditions this version cannot read, and why."""


class Planner:
    """Looks at plans and carries out what they come to; a step of the main program's loop."""

    name = "plans"

    def __init__(self, desk: PlanDesk) -> None:
        self._desk = desk
        self.board = Board()
        self.facts = FactsBook(desk.sources, desk.clock)
        self.firing = Firing(desk, self.board)
        self._following = Following(desk, self.board)
        self._next_ms: dict[str, int] = {}
        self._ticks: dict[str, Tick] = {}
        self.watched: Look | None = None
        """The newest look, of which questions are answered."""
        self.counts = Counts()

    def wants(self) -> Wants:
        return self.board.wants()

    async def recover(self, look: Look) -> None:
        """Believe the store, and see how far fired plans went."""
        plans = [*await self._desk.store.plans(statuses=OPEN, limit=OPEN_MAX)]
        if any(plan.bracket_id is not None for plan in plans):  # what won may be closed, and the others not yet gone
            plans += await self._desk.store.plans(statuses=frozenset({PlanStatus.CLOSED}), limit=OPEN_MAX)
        self.board.replace_all([plan for plan in plans if self._is_readable(plan)])
        self._next_ms.clear()
        self._ticks.clear()
        self.watched = look
        await self._following.run(look)

    def _is_readable(self, plan: Plan) -> bool:
        """Answer whether a plan's conditions can be read; one of a newer version waits for that."""
        try:
            self.board.put(plan)
        except InvalidConditions as error:
            self.counts.unreadable[plan.id] = str(error)
            log.error("plan_unreadable", plan=plan.id, told=str(error))
            return False
        return True

    async def run(self, look: Look) -> None:
        """Follow what was fired, and judge what is due."""
        self.watched, self.counts.last_run_ms = look, look.now_ms
        self.counts.halted, self.counts.mode = look.halted, look.mode
        if look.is_new:
            await self._following.run(look)
        until_s = self._desk.clock.machine_s() + ACTING_S
        for symbol in list(self.board.wants()):
            if self._desk.clock.machine_s() >= until_s:
                return
            await self._look_at(symbol, look, until_s)

    # --- when ----------------------------------------------------------------------------------------------------

    async def _look_at(self, symbol: str, look: Look, until_s: float) -> None:
        """Judge all plans of a symbol when their time has come, and those near its price with every new quote."""
        is_due = look.now_ms >= self._next_ms.get(symbol, 0)
        near = self._near(symbol, look)
        if not is_due and not near:
            return
        if is_due:
            self._next_ms[symbol] = look.now_ms + int(look.settings.plans.check_s * 1000)
            self.counts.rounds += 1
            self.counts.last_round_ms = look.now_ms
        cards = self.board.of_symbol(symbol) if is_due else self.board.of(near)
        if not await self._judge(symbol, cards, look, until_s):
            self._next_ms[symbol] = 0

    def _near(self, symbol: str, look: Look) -> set[str]:
        tick, before = look.tick(symbol), self._ticks.get(symbol)
        if tick is None or tick == before:
            return set()
        self._ticks[symbol] = tick
        return self.board.near(tick, before, symbol, look.settings.plans.near_percent)

    def look_soon(self, symbol: str) -> None:
        """Judge the plans of a symbol in the next cycle."""
        self._next_ms.pop(symbol, None)

    # --- what ----------------------------------------------------------------------------------------------------

    async def _judge(self, symbol: str, cards: Sequence[Card], look: Look, until_s: float) -> bool:
        """Judge plans of one symbol on one look at its market; False when time ran out before all were."""
        watch = look.symbols.get(symbol)
        if watch is None:
            await self._judge_blindly(symbol, cards, look)
            return True
        self._note_stale(symbol, watch.stale)
        facts = self.facts.of(watch, look.settings)
        for card in cards:
            if self.board.cards.get(card.plan.id) is not card:
                continue  # it ended while others were served
            if self._desk.clock.machine_s() >= until_s:
                return False
            others = self.board.bracket(card.plan)
            judged = judge(card.plan, facts, look.settings.plans, others=others, condition=card.condition)
            card.judged, card.looked_ms = judged, look.now_ms
            self.counts.judged += 1
            await self._isolated(card, judged, look)
        return True

    async def _judge_blindly(self, symbol: str, cards: Sequence[Card], look: Look) -> None:
        """Let plans of a symbol that the broker does not have expire; nothing else can be told of them."""
        self.counts.stale[symbol] = f"the broker does not know {symbol}"
        for card in cards:
            if look.now_ms >= card.plan.expires_ms:
                await self._isolated(card, Expire(f"it expired, and the broker does not know {symbol}"), look)

    def _note_stale(self, symbol: str, why: str | None) -> None:
        if why is None:
            self.counts.stale.pop(symbol, None)
        else:
            self.counts.stale[symbol] = why

    async def _isolated(self, card: Card, judged: Judgement, look: Look) -> None:
        """Carry a judgement out; what goes wrong with one plan is recorded, and leaves the others alone."""
        try:
            await self._carry_out(card, judged, look)
        except (BrokerUnavailable, StoreFailed, PermissionGone):
            raise
        except Exception as error:  # the edge of one plan
            log.error("plan_failed", plan=card.plan.id, exc_info=error)
            await self.firing.hold(card, "failed", f"carrying it out failed: {type(error).__name__}: {error}")

    async def _carry_out(self, card: Card, judged: Judgement, look: Look) -> None:
        """Do what a judgement says; what somebody changed meanwhile is read anew and judged again."""
        try:
            match judged:
                case Due():
                    await self._due(card, judged, look)
                case Cancel():
                    await self._end(card, PlanStatus.CANCELLED, judged.reason, look)
                case Expire():
                    await self._end(card, PlanStatus.EXPIRED, judged.reason, look)
                case Waits():
                    card.stops = 0
        except ChangedMeanwhile:
            await reread(self._desk.store, self.board, card.plan)

    async def _due(self, card: Card, due: Due, look: Look) -> None:
        if look.now_ms < card.not_before_ms:
            return
        if look.halted:
            await self.firing.hold(card, "halted", "it is due, and trading is halted: nothing fires")
        elif look.mode is not Mode.AUTO:
            await self.firing.propose(card, due)
        else:
            await self.firing.fire(card, due)
            self.counts.fired += 1

    async def _end(self, card: Card, to: PlanStatus, reason: str, look: Look) -> None:
        """End a plan; one whose order rests at the broker when that is removed."""
        plan = card.plan
        rests = plan.status is PlanStatus.PENDING_ORDER_PLACED
        if rests and not await self._is_removed(card, reason, look):
            return
        after = moved(plan, to, self._desk.clock.market_ms(), reason)
        fact = self._desk.step(after)
        await self._desk.store.commit(Unit(plans=(after,), facts=(fact,)))
        self.board.put(after)
        self._desk.journal.tell((fact,))

    async def _is_removed(self, card: Card, why: str, look: Look) -> bool:
        """Remove a plan's order at the broker; False while it may still be there."""
        if look.now_ms < card.not_before_ms:
            return False
        if look.halted or look.mode is not Mode.AUTO:
            rule = "halted" if look.halted else "mode"
            await self.firing.hold(card, rule, f"its order should go ({why}), and {rule} keeps it there")
            return False
        try:
            done = await self._desk.trading.cancel(card.plan.intent or 0, correlation_id=card.plan.correlation_id)
        except TradingRefused as refused:
            if refused.code is not Code.NOT_FOUND:  # what is not there any more is found in the history
                await self.firing.hold(card, str(refused.details.get("rule")), refused.message)
            return False
        return done.ok

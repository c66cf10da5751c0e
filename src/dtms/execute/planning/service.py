"""What the main API may ask of plans: made, listed, explained, changed while they wait, and taken back."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dtms.decide.conditions import Condition, InvalidConditions, parse, timeframes_of
from dtms.decide.conditions_facts import MarketFacts
from dtms.decide.plans import judge
from dtms.decide.plans_drafts import Draft, InvalidPlan, amended, draft_of, validate
from dtms.decide.plans_status import moved
from dtms.domain.errors import ChangedMeanwhile
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Tick
from dtms.domain.plans import Plan, PlanStatus
from dtms.execute.planning.board import reread
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.planning.facts import ALWAYS, read_patterns
from dtms.execute.planning.runner import Planner
from dtms.execute.planning.seen import PlanSeen, PlansStatus
from dtms.execute.service import Receipt
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.store import Kept, Unit

UNBOUND = frozenset({PlanStatus.PENDING, PlanStatus.PENDING_ORDER_PLACED})
PLANS_AT_ONCE = 100


Made = Plan | TradingRefused
"""What one draft of a batch came to."""


class Plans:
    """Answers for plans, in the program that runs them."""

    def __init__(self, desk: PlanDesk, planner: Planner, *, make_id: Callable[[], str]) -> None:
        self._desk = desk
        self._planner = planner
        self._make_id = make_id

    # --- made ----------------------------------------------------------------------------------------------------

    async def create(self, draft: Draft, receipt: Receipt[Sequence[Made]] | None = None) -> Plan:
        """Make a plan that waits from now on.

        Raises:
            TradingRefused: with every fault, by its field.
            BrokerUnavailable: when its symbol cannot be read.
        """
        (made,) = await self.create_all([draft], receipt)
        if isinstance(made, TradingRefused):
            raise made
        return made

    async def create_all(
        self, drafts: Sequence[Draft], receipt: Receipt[Sequence[Made]] | None = None
    ) -> Sequence[Made]:
        """Make plans, each judged by itself, in one commit.

        Raises:
            BrokerUnavailable: when a symbol cannot be read; nothing was made.
        """
        room = self._desk.settings().plans.plans_max - len(self._planner.board.with_status(*UNBOUND))
        made: list[Made] = []
        for draft in drafts:
            one = await self._made(draft) if room > 0 else _too_many(self._desk.settings().plans.plans_max)
            room -= isinstance(one, Plan)
            made.append(one)
        plans = [one for one in made if isinstance(one, Plan)]
        if plans:
            kept = None if receipt is None else receipt(made)
            await self._commit(plans, "made", kept)
        return made

    async def _made(self, draft: Draft) -> Made:
        try:
            return await self._validated(draft, self._make_id())
        except TradingRefused as refused:
            return refused

    async def _validated(self, draft: Draft, plan_id: str) -> Plan:
        """Check a draft against its market.

        Raises:
            TradingRefused: with every fault, by its field.
        """
        instrument, tick = await self._market(draft.symbol)
        try:
            condition = parse(draft.conditions)
        except InvalidConditions:
            condition = None  # told with all other faults
        facts = None if condition is None else await self._facts(draft.symbol, instrument, tick, condition)
        try:
            return validate(
                draft,
                plan_id=plan_id,
                instrument=instrument,
                tick=tick,
                now_ms=self._desk.clock.market_ms(),
                settings=self._desk.settings().plans,
                facts=facts,
            )
        except InvalidPlan as error:
            raise _invalid(error) from None

    async def _market(self, symbol: str) -> tuple[Instrument, Tick]:
        instrument = await self._desk.broker.instrument(symbol)
        if instrument is None:
            told = f"The broker does not know {symbol}."
            raise TradingRefused(Code.INVALID, told, {"field": "symbol", "rule": "unknown_symbol"})
        tick = (await self._desk.broker.quotes([symbol])).get(symbol)
        if tick is None or not tick.is_sound:
            raise TradingRefused(Code.NOT_READY, f"{symbol} has no sound quote now.", {"symbol": symbol})
        return instrument, tick

    async def _facts(self, symbol: str, instrument: Instrument, tick: Tick, condition: Condition) -> MarketFacts:
        """Return the market of a symbol; of one that nobody watches yet the bars that its conditions ask about."""
        settings, look, needed = self._desk.settings(), self._planner.watched, timeframes_of(condition)
        watch = None if look is None else look.symbols.get(symbol)
        if watch is not None and needed <= watch.wanted | ALWAYS:
            known = self._planner.facts.of(watch, settings)
            if all(known.bars[timeframe].atr is not None for timeframe in needed):
                return known
        now = self._desk.clock.market_ms()
        return MarketFacts(
            symbol=symbol,
            instrument=instrument,
            now_ms=now,
            settings=settings,
            tick=tick,
            bars=await read_patterns(self._desk.broker, symbol, needed, settings),
            vix=self._desk.sources.vix(now),
            releases=self._desk.sources.releases(now) or None,
        )

    async def _commit(self, plans: Sequence[Plan], what: str, kept: Kept | None = None) -> None:
        facts = tuple(self._desk.fact(p, f"plan {p.id} was {what}: {_told(p)}") for p in plans)
        await self._desk.store.commit(Unit(plans=plans, facts=facts, keep=() if kept is None else (kept,)))
        for plan in plans:
            self._planner.board.put(plan)
            self._planner.look_soon(plan.symbol)

    # --- shown ---------------------------------------------------------------------------------------------------

    async def list(
        self, statuses: frozenset[PlanStatus] | None = None, *, symbol: str | None = None, limit: int = 200
    ) -> Sequence[Plan]:
        """Return plans, oldest first; those that something can still come of unless statuses are named."""
        wanted = statuses or frozenset(status for status in PlanStatus if status.is_open)
        found = await self._desk.store.plans(statuses=wanted, limit=100_000 if symbol else limit)
        return [plan for plan in found if symbol in (None, plan.symbol)][:limit]

    async def get(self, plan_id: str) -> PlanSeen:
        """Return a plan, with every condition and its present value.

        Raises:
            TradingRefused: when there is none.
        """
        plan = await self._plan(plan_id)
        try:
            condition = parse(plan.conditions, plan.side)
        except InvalidConditions:
            return PlanSeen(plan=plan, facts=None, condition=None, judged=None)
        try:
            facts = await self._facts(plan.symbol, *await self._market(plan.symbol), condition)
        except TradingRefused:
            return PlanSeen(plan=plan, facts=None, condition=condition, judged=None)
        others = self._planner.board.bracket(plan)
        waits = plan.status in UNBOUND
        rules = self._desk.settings().plans
        judged = judge(plan, facts, rules, others=others, condition=condition) if waits else None
        return PlanSeen(plan=plan, facts=facts, condition=condition, judged=judged)

    async def _plan(self, plan_id: str) -> Plan:
        plan = await self._desk.store.plan(plan_id)
        if plan is None:
            raise TradingRefused(Code.NOT_FOUND, f"There is no plan {plan_id}.", {"plan": plan_id})
        return plan

    async def status(self) -> PlansStatus:
        """Return how plans stand as a whole."""
        counts, board = self._planner.counts, self._planner.board
        by_status = {status.value: len(board.with_status(status)) for status in PlanStatus if status.is_open}
        now = self._desk.clock.market_ms()
        last = counts.last_run_ms
        rules = self._desk.settings().plans
        return PlansStatus(
            by_status=by_status,
            held={c.plan.id: c.held for c in board.cards.values() if c.held is not None},
            stale=dict(counts.stale),
            unreadable=dict(counts.unreadable),
            rounds=counts.rounds,
            judged=counts.judged,
            last_round_ms=counts.last_round_ms,
            age_s=None if last is None else (now - last) / 1000.0,
            check_s=rules.check_s,
            halted=counts.halted,
            mode=counts.mode,
            waiting_max=rules.plans_max,
        )

    # --- changed -------------------------------------------------------------------------------------------------

    async def change(
        self, plan_id: str, change: Callable[[Draft], Draft], receipt: Receipt[Plan] | None = None
    ) -> Plan:
        """Change a plan that waits; what is not named stays.

        Raises:
            TradingRefused: when it waits no more, changed meanwhile, or would be invalid.
        """
        plan = await self._plan(plan_id)
        if plan.status is not PlanStatus.PENDING:
            told = f"Plan {plan_id} is {plan.status.value}: it can be changed only while it is pending."
            raise TradingRefused(Code.CONFLICT, told, {"plan": plan_id, "status": plan.status.value})
        draft = change(draft_of(plan))
        fresh = await self._validated(draft, plan.id)
        after = amended(plan, fresh, is_expiry_given=draft.expires_hours is not None)
        await self._changed(after, "changed", receipt)
        return after

    async def _changed(self, after: Plan, what: str, receipt: Receipt[Plan] | None) -> None:
        kept = None if receipt is None else receipt(after)
        try:
            await self._commit([after], what, kept)
        except ChangedMeanwhile:
            await reread(self._desk.store, self._planner.board, after)
            told = f"Plan {after.id} took a step just now; look at it again."
            raise TradingRefused(Code.CONFLICT, told, {"plan": after.id, "rule": "changed_meanwhile"}) from None

    async def cancel(self, plan_id: str, correlation_id: str | None = None) -> Plan:
        """Take a plan back; one whose order rests at the broker with it. What is cancelled stays so.

        Raises:
            TradingRefused: when it was executed, or is being.
            BrokerUnavailable: when its order cannot be removed now.
        """
        plan = await self._plan(plan_id)
        if plan.status is PlanStatus.CANCELLED:
            return plan
        if plan.status not in UNBOUND:
            told = f"Plan {plan_id} is {plan.status.value}: there is nothing to take back."
            raise TradingRefused(Code.CONFLICT, told, {"plan": plan_id, "status": plan.status.value})
        if plan.status is PlanStatus.PENDING_ORDER_PLACED:
            await self._remove(plan, correlation_id)
        after = moved(plan, PlanStatus.CANCELLED, self._desk.clock.market_ms(), "taken back by request")
        await self._changed(replace(after, correlation_id=correlation_id or plan.correlation_id), "taken back", None)
        return after

    async def _remove(self, plan: Plan, correlation_id: str | None) -> None:
        """Remove a plan's order from the broker.

        Raises:
            TradingRefused: when it is there no more, or nobody can say yet: what became of it is looked for.
        """
        done = await self._desk.trading.cancel(plan.intent or 0, by_person=True, correlation_id=correlation_id)
        if not done.ok:
            told = f"Nobody can say yet whether order {done.order} of plan {plan.id} was removed; it is looked for."
            raise TradingRefused(Code.NOT_READY, told, {"plan": plan.id, "order": done.order, "intent": done.intent})


def _told(plan: Plan) -> str:
    size = f"{plan.volume} lots" if plan.volume is not None else f"{plan.risk_pct:g} % of the equity"
    return f"{plan.side.direction} {plan.symbol} {size} at {plan.entry:.10g} ({plan.order_type.value})"


def _invalid(error: InvalidPlan) -> TradingRefused:
    fields: list[Json] = [
        {"field": fault.path, "message": fault.message, "near": list(fault.near), "rule": "plan"}
        for fault in error.faults
    ]
    first = error.faults[0]
    return TradingRefused(Code.INVALID, f"{first.path}: {first.message}.", {"fields": fields, "rule": "plan"})


def _too_many(limit: int) -> TradingRefused:
    told = f"{limit} plans wait already; take some back first."
    return TradingRefused(Code.CONFLICT, told, {"rule": "plans_max", "limit": limit})

"""One deep check over one trade: step the machine, carry the moves out, and enter a row when its moves ended.

A row is taken again and again until none is due, so a shock passes several states in one check. Failures leave the
state where it is; they are counted per row, with back-off, and decided anew on fresh data.
"""

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from dtms.decide import trade_state
from dtms.decide.defence import Impossible, Plan, Planned, Sight, closed_members, family_sight_positions, plan
from dtms.decide.guards import GuardInput, RailState, Release, is_spread_spike, observe_close, refuse_risk
from dtms.decide.settle import ROW_BY_RULE
from dtms.decide.trade_state import TABLE, Due, Move, Row, Situation, Way
from dtms.domain.actions import (
    Action,
    ClosePosition,
    Ending,
    IntentState,
    MoveStop,
    OpenPosition,
    Outcome,
    Serves,
)
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Machine, Mode, Retry, State, Trade
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.closing import Closing
from dtms.execute.executor import After, Executor, Order
from dtms.execute.journal import Journal, describe
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

TRIES_AT_ONCE = 3
STEPS_MAX = 8
BACKOFF_MAX_S = 60.0
MARKET_CLOSED = 10018
GONE = Due(ROW_BY_RULE["position_gone"], "the position was closed at the broker")
CLOSES = frozenset({Move.CLOSE_HEDGE, Move.CLOSE_ALL, Move.CLOSE_REST})
"""Moves that are done when nothing is left of what they close; whatever refuses them, they are not given up."""
NEEDS_ATR = frozenset({Move.TIGHTEN, Move.OPEN_HEDGE})
NO_HEDGE_RETCODES = {
    10045: "the account closes first in, first out",
    10046: "the account prohibits hedging",
}


@dataclass(slots=True)
class Desk:
    """What the cycle acts with and under; settings, rails and switches change between cycles."""

    broker: Broker
    store: Store
    clock: Clock
    executor: Executor
    journal: Journal
    settings: Settings
    rails: RailState
    releases: Sequence[Release]
    mode: Mode
    account: tuple[int, str] = (0, "")
    """Login and server of the connected account."""
    halted: bool = False
    hedge_prohibited: str | None = None
    transitions: int = 0
    actions: int = 0

    def mode_of(self, trade: Trade) -> Mode:
        return trade.mode or self.mode


@dataclass(frozen=True, slots=True)
class Told:
    """How a move ended, in one word and in words."""

    ending: Ending
    reason: str = ""
    wait: bool = False


AfterMove = Callable[[Move, Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What is committed together with the last action of a move."""


class Cycle:
    """Steps single trades."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._closing = Closing(broker=desk.broker, store=desk.store, clock=desk.clock)

    # --- stepping --------------------------------------------------------------------------------------------------

    async def step(self, watch: Watch, symbol: SymbolWatch, *, adding: bool) -> bool:
        """Step one trade; with ``adding`` False stop before a row that adds risk and answer True: it is still due."""
        for _ in range(STEPS_MAX):
            if not watch.trade.is_active:
                return False
            due = self.due(watch, symbol, self._blocked(watch))
            if due is None:
                await self._forget_retry(watch, symbol)
                return False
            if due.row.adds_risk and not adding and self._acts(watch):
                return True
            if not await self._take(watch, symbol, due):
                return False
        return False

    def due(self, watch: Watch, symbol: SymbolWatch, blocked: Container[str] = ()) -> Due | None:
        """Return the row that is due for a trade, or for its shadow in observe."""
        if watch.trade.volume == ZERO:  # whatever a shadow says, and without any view of the market
            return None if GONE.row.rule in blocked else GONE
        machine, at = self._machine(watch.trade), self.situation(watch, symbol)
        return trade_state.next_due(machine, at, blocked) if at else None

    def _machine(self, trade: Trade) -> Machine:
        if self._desk.mode_of(trade) is Mode.AUTO:
            return trade.machine
        return trade.shadow or trade.machine

    def _acts(self, watch: Watch) -> bool:
        return self._desk.mode_of(watch.trade) is Mode.AUTO

    def situation(self, watch: Watch, symbol: SymbolWatch) -> Situation | None:
        """Gather what the triggers see; None while there is no view."""
        view, trade = symbol.view, watch.trade
        if view is None:
            return None
        machine, now = self._machine(trade), self._desk.clock.market_ms()
        return Situation(
            side=trade.side,
            view=view,
            score=view.score(trade.side),
            settings=self._desk.settings.protection,
            flat_min=_minutes(symbol, machine.flat_since_ms, now),
            recovery_min=_minutes(symbol, machine.recovery_since_ms, now),
            position_gone=trade.volume == ZERO,
            hedge_gone=machine is trade.machine and machine.state is State.HEDGED and not trade.hedges,
        )

    # --- taking a row ----------------------------------------------------------------------------------------------

    async def _take(self, watch: Watch, symbol: SymbolWatch, due: Due) -> bool:
        if not self._acts(watch) and due.row.rule != "position_gone":
            return await self._take_shadow(watch, symbol, due)
        if Move.CLOSE_ALL in due.row.moves:  # what is closed first tells the reason, whatever is left to close
            watch.trade = replace(watch.trade, close_reason=due.reason)
        endings: list[str] = []
        for move in (moves := self._moves(watch.trade, due.row)):
            after = self._entering(due, endings) if move is moves[-1] else _marking
            told = await self._move(watch, symbol, move, due, after)
            if told.ending is Ending.NOT_POSSIBLE and due.row.substitute:
                return await self._substitute(watch, symbol, due, told)
            if told.ending in (Ending.FAILED, Ending.UNKNOWN):
                await self._count(watch, due.row, told)
                return False
            endings.append(_ended(move, told))
        if due.row.way is Way.END:
            await self._end(watch, due, endings)
        elif watch.trade.machine.state is not due.row.to:  # the last move needed no request
            await self._enter(watch, due, endings)
        return True

    def _moves(self, trade: Trade, row: Row) -> list[Move]:
        """Return a row's moves but those that ran in this visit, and a cleaning up of nothing."""
        if row is GONE.row and not trade.members:
            return []
        return [m for m in row.moves if not trade_state.is_spent(trade.machine, m)]

    def _entering(self, due: Due, endings: list[str]) -> AfterMove:
        """Make the transition that is committed together with a row's last action."""

        def after(move: Move, trade: Trade, outcome: Outcome) -> tuple[Trade, Sequence[Fact]]:
            trade, _ = _marking(move, trade, outcome)
            if move in CLOSES and (due.row.way is Way.END or _is_open(trade, move)):
                return trade, ()  # an end is entered with its figures, and nothing while a part is still open
            told = [*endings, f"{move.value}: {outcome.ending.value}"]
            return self._entered(trade, due, told, outcome.price)

        return after

    def _entered(self, trade: Trade, due: Due, endings: Sequence[str], price: float | None) -> tuple[Trade, list[Fact]]:
        before, now = trade.machine, self._desk.clock.market_ms()
        machine = trade_state.enter(before, due.row, now)
        trade = replace(trade, machine=machine, retry=None)
        if machine.state is State.CLOSED:
            reason = trade.close_reason or due.reason
            trade = replace(trade, closed_ms=trade.closed_ms or now, close_reason=reason)
        self._desk.transitions += 1
        return trade, self._transition_facts(trade, due, before.state, endings, price)

    def _transition_facts(
        self, trade: Trade, due: Due, before: State, endings: Sequence[str], price: float | None
    ) -> list[Fact]:
        summary = f"{before} → {due.row.to}: {due.reason}" + (f"; {'; '.join(endings)}" if endings else "")
        details: dict[str, Json] = {
            "from": before.value,
            "to": due.row.to.value,
            "rule": due.row.rule,
            "reason": due.reason,
            "moves": list(endings),
            "price": price,
            "score": due.score,
        }
        facts = [self._desk.journal.fact(FactKind.TRANSITION, summary, trade=trade, details=details)]
        if due.row.to is State.CLOSED:
            facts.append(self._desk.journal.closed(trade))
        return facts

    async def _enter(self, watch: Watch, due: Due, endings: Sequence[str]) -> None:
        trade, facts = self._entered(watch.trade, due, endings, None)
        await self._commit(watch, trade, facts)

    async def _end(self, watch: Watch, due: Due, endings: Sequence[str]) -> None:
        """Enter CLOSED with the figures of the deals; what the market closed was counted when it was seen."""
        trade = await self._closing.figures(watch.trade, self._desk.settings.intents)
        trade, facts = self._entered(trade, due, endings, trade.close_price)
        rails = self._desk.rails
        if due.row is not GONE.row:
            rails = observe_close(rails, by_stop=False, profit=trade.realised)
        await self._desk.store.commit(Unit(trades=(trade,), facts=facts, rails=rails.as_json()))
        self._desk.rails = rails
        self._believe(watch, trade, facts)

    async def _substitute(self, watch: Watch, symbol: SymbolWatch, due: Due, why: Told) -> bool:
        """Run what stands in for a hedge that is not possible; the state stays, and the flat timer runs."""
        endings = [f"{due.row.moves[0].value}: not possible{_in_brackets(why.reason)}"]
        for move in due.row.substitute:
            told = await self._move(watch, symbol, move, due, None)
            if told.ending in (Ending.FAILED, Ending.UNKNOWN):
                await self._count(watch, due.row, told)
                return False
            endings.append(_ended(move, told))
        now = self._desk.clock.market_ms()
        trade = replace(watch.trade, machine=trade_state.substituted(watch.trade.machine, now), retry=None)
        fact = self._desk.journal.fact(
            FactKind.REFUSAL,
            f"{due.reason}; {'; '.join(endings)}; the flat timer runs",
            trade=trade,
            details={
                "action": due.row.moves[0].value,
                "rule": due.row.rule,
                "reason": why.reason,
                "moves": list(endings),
            },
        )
        await self._commit(watch, trade, [fact])
        return True

    async def _take_shadow(self, watch: Watch, symbol: SymbolWatch, due: Due) -> bool:
        """Step the shadow as if every move were done, and journal what would have been sent."""
        trade, now = watch.trade, self._desk.clock.market_ms()
        shadow = trade.shadow or trade.machine
        moves = [m for m in due.row.moves if not trade_state.is_spent(shadow, m)]
        planned = await self._would_send(watch, symbol, moves)
        for move in moves:
            shadow = trade_state.mark(shadow, move)
        if Move.OPEN_HEDGE in moves:
            shadow = replace(shadow, hedges=shadow.hedges + 1)
        before, shadow = shadow.state, trade_state.enter(shadow, due.row, now)
        details: dict[str, Json] = {
            "from": before.value,
            "to": due.row.to.value,
            "rule": due.row.rule,
            "reason": due.reason,
            "moves": list(planned),
            "score": due.score,
        }
        summary = f"shadow {before} → {due.row.to}: {due.reason}" + (f"; would {'; '.join(planned)}" if planned else "")
        fact = self._desk.journal.fact(FactKind.SHADOW_TRANSITION, summary, trade=trade, details=details)
        await self._commit(watch, replace(trade, shadow=shadow), [fact])
        return True

    async def _would_send(self, watch: Watch, symbol: SymbolWatch, moves: Sequence[Move]) -> list[str]:
        told: list[str] = []
        snapshot = await self._desk.broker.snapshot([watch.trade.symbol])
        for move in moves:
            sight = self.sight(watch, symbol, snapshot)
            planned = plan(move, sight) if sight else Impossible("no_quote", "no quote")
            if isinstance(planned, Impossible):
                told.append(f"{move.value}: not possible ({planned.reason})")
            else:
                told += [describe(action) for action in planned.actions] or [f"{move.value}: {planned.note}"]
        return told

    # --- moving ----------------------------------------------------------------------------------------------------

    async def _move(
        self,
        watch: Watch,
        symbol: SymbolWatch,
        move: Move,
        due: Due | None,
        after: AfterMove | None,
    ) -> Told:
        """Plan a move on a fresh look and carry its actions out, deciding anew where the price ran away."""
        told = Told(Ending.FAILED, "no quote", wait=True)
        for _ in range(TRIES_AT_ONCE):
            sight, planned = await self._planned(watch, symbol, move)
            if sight is None or isinstance(planned, Told):
                return planned if isinstance(planned, Told) else told
            if isinstance(planned, Impossible):
                return await self._impossible(watch, move, planned)
            if planned.pending:
                watch.trade = replace(watch.trade, machine=replace(watch.trade.machine, breakeven_pending=True))
            if not planned.actions:
                return Told(Ending.DONE, planned.note)
            if move is Move.CLOSE_PART and watch.part_left is None:
                watch.part_left = _closed_volume(planned)
            outcome = await self._carry_out(watch, symbol, sight, planned, move, due, after)
            told = _told(outcome, move)
            if told.ending in (Ending.DONE, Ending.NOT_POSSIBLE):
                watch.part_left = None
            if told.ending is Ending.DONE and move in CLOSES and _is_open(watch.trade, move):
                told = Told(Ending.FAILED, "filled in part, and some of it is still open")
                continue
            if not outcome.again:
                break
            self._desk.broker.forget(watch.trade.symbol)
        return told

    async def _planned(self, watch: Watch, symbol: SymbolWatch, move: Move) -> tuple[Sight | None, Planned | Told]:
        """Look, size, and ask the rails."""
        try:
            snapshot = await self._desk.broker.snapshot([watch.trade.symbol])
            instrument = await self._desk.broker.instrument(watch.trade.symbol)
            if move is Move.BREAKEVEN:
                await self._read_costs(watch)
        except BrokerUnavailable as error:
            return None, Told(Ending.FAILED, str(error), wait=True)
        if instrument is not None:
            symbol.instrument = instrument
        sight = self.sight(watch, symbol, snapshot)
        if sight is None or (symbol.view is None and move in NEEDS_ATR):
            return None, Told(Ending.FAILED, f"no sound quote or view of {watch.trade.symbol}", wait=True)
        planned = plan(move, sight)
        if (
            isinstance(planned, Plan)
            and planned.actions
            and (held := self._held(sight, symbol, watch, planned.actions, move))
        ):
            return sight, held
        return sight, planned

    async def _read_costs(self, watch: Watch) -> None:
        """Learn what the position has cost so far, once."""
        if watch.cost_money is None:
            deals = await self._desk.broker.deals(position=watch.trade.identifier)
            watch.cost_money = sum(d.commission + d.fee for d in deals)

    def _held(
        self, sight: Sight, symbol: SymbolWatch, watch: Watch, actions: Sequence[Action], move: Move
    ) -> Impossible | Told | None:
        """What stops a sized move: the kill switch, a rail for what adds risk, a spike for a stop near the market."""
        if self._desk.halted:
            return Told(Ending.FAILED, "halted by the kill switch", wait=True)
        if not self._acts(watch):
            return Told(Ending.FAILED, f"mode is {self._desk.mode_of(watch.trade)}", wait=True)
        kinds = {a.kind for a in actions if a.kind.changes_exposure}
        if any(i.action.kind in kinds for i in watch.open_intents.values()):
            return Impossible("unresolved_intent", "nobody can say yet whether an earlier one was executed")
        if move.adds_risk:
            refusal = refuse_risk(self._guard_input(sight, symbol, watch, move))
            return Impossible(refusal.rail, refusal.reason) if refusal else None
        if is_spread_spike(sight.tick, symbol.bars.median_spread(), self._desk.settings.rails):
            price, reach = sight.tick.closing(sight.trade.side), sight.clearance * 1.000001
            if any(isinstance(a, MoveStop) and abs(price - a.stop) <= reach for a in actions):
                return Told(
                    Ending.FAILED,
                    f"spread spike {sight.tick.spread:.6g}: the spread itself would hit the stop",
                    wait=True,
                )
        return None

    def _guard_input(self, sight: Sight, symbol: SymbolWatch, watch: Watch, move: Move) -> GuardInput:
        return GuardInput(
            trade=sight.trade,
            tick=sight.tick,
            now_ms=self._desk.clock.market_ms(),
            median_spread=symbol.bars.median_spread(),
            stale=symbol.stale,
            rails=self._desk.rails,
            releases=self._desk.releases,
            last_same_action_ms=watch.last_action_ms.get(move.value),
            settings=self._desk.settings.rails,
        )

    def sight(self, watch: Watch, symbol: SymbolWatch, snapshot: Snapshot) -> Sight | None:
        """Gather what sizing sees; None without a sound quote."""
        tick = snapshot.ticks.get(watch.trade.symbol)
        if tick is None or not tick.is_sound:
            return None
        own, readds, hedges = family_sight_positions(watch.trade, dict(snapshot.positions))
        unresolved = any(i.action.kind.changes_exposure for i in watch.open_intents.values())
        return Sight(
            trade=replace(watch.trade, reduce_only=watch.trade.reduce_only or unresolved),
            own=own,
            readds=readds,
            hedges=hedges,
            tick=tick,
            instrument=symbol.instrument,
            account=snapshot.account,
            atr_m15=symbol.view.atr_m15 if symbol.view is not None else float("nan"),
            part_left=watch.part_left,
            protection=self._desk.settings.protection,
            rails=self._desk.settings.rails,
            cost_money=(watch.cost_money or 0.0) + (own.swap if own else 0.0),
            hedge_prohibited=self._desk.hedge_prohibited,
        )

    async def _carry_out(
        self,
        watch: Watch,
        symbol: SymbolWatch,
        sight: Sight,
        planned: Plan,
        move: Move,
        due: Due | None,
        after: AfterMove | None,
    ) -> Outcome:
        serves = (
            None
            if due is None
            else Serves(rule=due.row.rule, from_state=watch.trade.machine.state, to_state=due.row.to)
        )
        outcome = Outcome(ending=Ending.DONE, reason="")
        for action in planned.actions:
            last = action is planned.actions[-1]
            order = Order(
                trade=watch.trade,
                action=action,
                serves=serves,
                tick=sight.tick,
                instrument=sight.instrument,
                after=None if after is None or not last else _bind(after, move),
            )
            before = watch.trade.open_volume
            executed = await self._desk.executor.run(order)
            watch.trade, outcome = executed.trade, executed.outcome
            if watch.part_left is not None and outcome.ending is Ending.DONE:
                watch.part_left -= before - watch.trade.open_volume
            if outcome.ending is Ending.UNKNOWN and executed.intent is not None:
                watch.open_intents[executed.intent.number] = executed.intent
            self._note(watch, action, outcome)
            if outcome.retcode == MARKET_CLOSED:
                symbol.bars.note_closed(self._desk.clock.market_ms())
            if outcome.ending is not Ending.DONE:
                break
        return outcome

    def _note(self, watch: Watch, action: Action, outcome: Outcome) -> None:
        log.info(
            "action",
            ticket=watch.ticket,
            symbol=watch.trade.symbol,
            action=action.kind.value,
            told=f"{describe(action)}: {outcome.ending.value.replace('_', ' ')}{_in_brackets(outcome.reason)}",
            ending=outcome.ending.value,
            reason=outcome.reason,
            market_ms=self._desk.clock.market_ms(),
        )
        if outcome.ending is Ending.DONE:
            self._desk.actions += 1
            watch.last_action_ms[action.kind.value] = self._desk.clock.market_ms()
        if isinstance(action, OpenPosition) and outcome.retcode in NO_HEDGE_RETCODES:
            self._desk.hedge_prohibited = NO_HEDGE_RETCODES[outcome.retcode]

    async def _impossible(self, watch: Watch, move: Move, why: Impossible) -> Told:
        fact = self._desk.journal.fact(
            FactKind.REFUSAL,
            f"{move.value} is not possible: {why.reason}",
            trade=watch.trade,
            details={"action": move.value, "rule": why.rule, "rail": why.rule, "reason": why.reason},
        )
        await self._desk.store.commit(Unit(facts=(fact,)))
        return Told(Ending.NOT_POSSIBLE, why.reason)

    async def move_pending_breakeven(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Make the breakeven move that waited for the price."""
        told = await self._move(watch, symbol, Move.BREAKEVEN, None, None)
        if told.ending in (Ending.DONE, Ending.NOT_POSSIBLE) and not self._still_waits(told):
            trade = replace(watch.trade, machine=replace(watch.trade.machine, breakeven_pending=False))
            await self._commit(watch, trade, [])

    async def close_surplus(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Close the hedges of a trade that wants none."""
        await self._move(watch, symbol, Move.CLOSE_HEDGE, None, None)

    async def close_members(self, watch: Watch, symbol: SymbolWatch, tickets: Collection[int]) -> None:
        """Close single positions of the family: what a late answer left beside a trade that does not want it."""
        await self.protect(watch, symbol, lambda sight: closed_members(sight, tickets))

    async def protect(self, watch: Watch, symbol: SymbolWatch, size: Callable[[Sight], Planned]) -> Told:
        """Do what ``size`` works out outside the table's rows: set a missing stop, close a surplus."""
        snapshot = await self._desk.broker.snapshot([watch.trade.symbol])
        sight = self.sight(watch, symbol, snapshot)
        if sight is None:
            return Told(Ending.FAILED, "no quote or view yet", wait=True)
        planned = size(sight)
        if isinstance(planned, Impossible):
            if watch.noted.get("protect") != planned.reason:
                watch.noted["protect"] = planned.reason
                return await self._impossible(watch, Move.TIGHTEN, planned)
            return Told(Ending.NOT_POSSIBLE, planned.reason)
        outcome = await self._carry_out(watch, symbol, sight, planned, Move.TIGHTEN, None, None)
        return _told(outcome, Move.TIGHTEN)

    def _still_waits(self, told: Told) -> bool:
        return "waits until" in told.reason

    # --- failures --------------------------------------------------------------------------------------------------

    def _blocked(self, watch: Watch) -> frozenset[str]:
        """Rules that are not taken now: backing off, given up, or with a request whose outcome is not known."""
        waiting = [i for i in watch.open_intents.values() if i.state is not IntentState.NEEDS_HUMAN]
        unresolved = {i.serves.rule for i in waiting if i.serves is not None}
        retry = watch.trade.retry
        if retry is not None and self._waits(retry):
            unresolved.add(retry.move)
        return frozenset(unresolved)

    def _waits(self, retry: Retry) -> bool:
        row = ROW_BY_RULE[retry.move]
        endless = Move.CLOSE_ALL in row.moves or Move.CLOSE_REST in row.moves
        given_up = retry.failures >= self._desk.settings.protection.failures_max and not endless
        return given_up or self._desk.clock.market_ms() < retry.not_before_ms

    async def _count(self, watch: Watch, row: Row, told: Told) -> None:
        """Count a failure of a row and say when it is decided anew; waiting and the unknown are not counted."""
        retry = watch.trade.retry
        before = retry.failures if retry is not None and retry.move == row.rule else 0
        counted = not told.wait and told.ending is Ending.FAILED
        failures = before + 1 if counted else before
        settings = self._desk.settings.protection
        wait_s = min(BACKOFF_MAX_S, settings.failure_backoff_s * 2 ** max(0, failures - 1))
        not_before = self._desk.clock.market_ms() + int(wait_s * 1000)
        trade = replace(watch.trade, retry=Retry(move=row.rule, failures=failures, not_before_ms=not_before))
        facts: list[Fact] = []
        if counted and failures >= settings.failures_max and trade.needs_attention is None:
            trade = replace(trade, needs_attention=f"{row.rule} failed {failures} times: {told.reason}")
            facts.append(self._desk.journal.fact(FactKind.NEEDS_ATTENTION, trade.needs_attention or "", trade=trade))
        if watch.noted.get("retry") != told.reason:
            watch.noted["retry"] = told.reason
            facts.append(self._held_fact(trade, row, told))
        await self._commit(watch, trade, facts)

    def _held_fact(self, trade: Trade, row: Row, told: Told) -> Fact:
        waiting = "waits" if told.wait else told.ending.value
        summary = f"{row.rule} {waiting}: {told.reason}"
        return self._desk.journal.fact(
            FactKind.HELD,
            summary,
            trade=trade,
            details={"rule": row.rule, "reason": told.reason, "ending": told.ending.value},
        )

    async def _forget_retry(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Start counting anew once the row that failed is no longer called for."""
        retry = watch.trade.retry
        if retry is None:
            return
        others = frozenset(row.rule for row in TABLE if row.rule != retry.move)
        if self.due(watch, symbol, others) is not None:
            return
        watch.noted.pop("retry", None)
        watch.part_left = None
        given_up = retry.failures >= self._desk.settings.protection.failures_max
        attention = None if given_up else watch.trade.needs_attention
        trade = replace(watch.trade, retry=None, needs_attention=attention, close_reason=None)
        await self._commit(watch, trade, [])

    async def _commit(self, watch: Watch, trade: Trade, facts: Sequence[Fact]) -> None:
        await self._desk.store.commit(Unit(trades=(trade,), facts=facts))
        self._believe(watch, trade, facts)

    def _believe(self, watch: Watch, trade: Trade, facts: Sequence[Fact]) -> None:
        """Take over what was committed, and tell the operator."""
        watch.trade = trade
        for fact in facts:
            log.info(
                fact.kind.value, ticket=watch.ticket, symbol=trade.symbol, told=fact.summary, market_ms=fact.market_ms
            )


def _minutes(symbol: SymbolWatch, since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else symbol.bars.traded_minutes(since_ms, now_ms)


def _is_open(trade: Trade, move: Move) -> bool:
    """Answer whether something of what a closing move closes is still open."""
    return bool(trade.hedges) if move is Move.CLOSE_HEDGE else trade.volume > ZERO or bool(trade.members)


def _closed_volume(planned: Plan) -> Decimal | None:
    """Return the lots of a part that takes several positions."""
    volumes = [a.volume for a in planned.actions if isinstance(a, ClosePosition)]
    return sum(volumes, ZERO) if len(volumes) > 1 else None


def _ended(move: Move, told: Told) -> str:
    """Tell how a move ended; one that needed no request says why."""
    if told.ending is Ending.DONE and told.reason:
        return f"{move.value}: {told.reason}"
    return f"{move.value}: {told.ending.value.replace('_', ' ')}{_in_brackets(told.reason)}"


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _marking(move: Move, trade: Trade, _: Outcome) -> tuple[Trade, Sequence[Fact]]:
    """Remember a done move together with its outcome."""
    return replace(trade, machine=trade_state.mark(trade.machine, move)), ()


def _bind(after: AfterMove, move: Move) -> After:
    return lambda trade, outcome: after(move, trade, outcome)


def _told(outcome: Outcome, move: Move) -> Told:
    """A close of a hedge or of everything is decided anew, whatever refuses it: nothing may be left behind."""
    if outcome.ending is Ending.NOT_POSSIBLE and move in CLOSES:
        return Told(Ending.FAILED, outcome.reason)
    return Told(outcome.ending, outcome.reason, outcome.wait)

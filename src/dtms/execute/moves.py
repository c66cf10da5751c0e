"""Carrying single moves out: look, size, ask the rails, send, and decide anew where the price ran away."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.decide.defence import Impossible, Plan, Planned, Sight, closed_members, family_sight_positions, plan
from dtms.decide.guards import GuardInput, is_spread_spike, refuse_risk
from dtms.decide.trade_state import Due, Move
from dtms.domain.actions import Action, ClosePosition, Ending, MoveStop, Outcome, Serves
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Fact, FactKind
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.desk import Desk, Told
from dtms.execute.executor import After, Order
from dtms.ports.store import Unit

TRIES_AT_ONCE = 3
MARKET_CLOSED = 10018
CLOSES = frozenset({Move.CLOSE_HEDGE, Move.CLOSE_ALL, Move.CLOSE_REST})
"""Moves that are done when nothing is left of what they close; whatever refuses them, they are not given up."""
NEEDS_ATR = frozenset({Move.TIGHTEN, Move.OPEN_HEDGE})
AfterMove = Callable[[Move, Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What is committed together with the last action of a move."""


class Moves:
    """Makes moves for one trade at a time; the caller holds its lock."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def make(
        self,
        watch: Watch,
        symbol: SymbolWatch,
        move: Move,
        due: Due | None,
        after: AfterMove | None,
    ) -> Told:
        """Plan a move on a fresh look and carry its actions out, deciding anew where the price ran away."""
        told = Told(Ending.FAILED, "no quote", wait=True)
        for tried in range(TRIES_AT_ONCE):
            sight, planned = await self._planned(watch, symbol, move)
            if sight is None or isinstance(planned, Told):
                return planned if isinstance(planned, Told) else told
            if isinstance(planned, Impossible):
                told = await self._impossible(watch, move, planned)
                return Told(Ending.FAILED, told.reason, wait=True) if move in CLOSES else told
            if planned.pending:
                watch.trade = replace(watch.trade, machine=replace(watch.trade.machine, breakeven_pending=True))
            if not planned.actions:
                if move in CLOSES and is_open(watch.trade, move):
                    return _not_listed(watch)
                return Told(Ending.DONE, planned.note)
            if move is Move.CLOSE_PART and watch.part_left is None:
                watch.part_left = _closed_volume(planned)
            outcome = await self._carry_out(watch, symbol, sight, planned, move, due, after)
            told = told_of(outcome, move)
            if told.ending in (Ending.DONE, Ending.NOT_POSSIBLE):
                watch.part_left = None
            if told.ending is Ending.DONE and move in CLOSES and is_open(watch.trade, move):
                told = Told(Ending.FAILED, "filled in part, and some of it is still open")
                continue
            if tried >= outcome.again:
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
        if sight.own is None and watch.trade.volume > ZERO:  # one list without it is no evidence that it is gone
            return None, _not_listed(watch)
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
        if not self._desk.acts(watch):
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
            learned=self._desk.learned,
            symbol_order=self._desk.closing_order(snapshot, watch.trade.symbol),
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
            await self._note(watch, action, outcome)
            if outcome.retcode == MARKET_CLOSED:
                symbol.bars.note_closed(self._desk.clock.market_ms())
            if outcome.ending is not Ending.DONE:
                break
        return outcome

    async def _note(self, watch: Watch, action: Action, outcome: Outcome) -> None:
        if outcome.ending is Ending.DONE:
            self._desk.actions += 1
            watch.last_action_ms[action.kind.value] = self._desk.clock.market_ms()
        if outcome.retcode is not None:
            await self._desk.learn(outcome.retcode, action)

    async def _impossible(self, watch: Watch, move: Move, why: Impossible) -> Told:
        if move in CLOSES and watch.noted.get("refusal") == why.reason:
            return Told(Ending.NOT_POSSIBLE, why.reason)  # decided anew without end, and told once
        watch.noted["refusal"] = why.reason
        fact = self._desk.journal.fact(
            FactKind.REFUSAL,
            f"{move.value} is not possible: {why.reason}",
            trade=watch.trade,
            details={"action": move.value, "rule": why.rule, "rail": why.rule, "reason": why.reason},
        )
        await self._desk.store.commit(Unit(facts=(fact,)))
        return Told(Ending.NOT_POSSIBLE, why.reason)

    async def pending_breakeven(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Make the breakeven move that waited for the price."""
        told = await self.make(watch, symbol, Move.BREAKEVEN, None, None)
        if told.ending in (Ending.DONE, Ending.NOT_POSSIBLE) and "waits until" not in told.reason:
            trade = replace(watch.trade, machine=replace(watch.trade.machine, breakeven_pending=False))
            await self._desk.commit(watch, trade, [])

    async def close_surplus(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Close the hedges of a trade that wants none."""
        await self.make(watch, symbol, Move.CLOSE_HEDGE, None, None)

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
        return told_of(outcome, Move.TIGHTEN)


def _not_listed(watch: Watch) -> Told:
    """Wait for evidence of what the broker left out of its list, and have it looked for at once."""
    watch.next_fast_ms = 0
    return Told(Ending.FAILED, "the broker does not list what is remembered as open", wait=True)


def is_open(trade: Trade, move: Move) -> bool:
    """Answer whether something of what a closing move closes is still open."""
    return bool(trade.hedges) if move is Move.CLOSE_HEDGE else trade.volume > ZERO or bool(trade.members)


def _closed_volume(planned: Plan) -> Decimal | None:
    """Return the lots of a part that takes several positions."""
    volumes = [a.volume for a in planned.actions if isinstance(a, ClosePosition)]
    return sum(volumes, ZERO) if len(volumes) > 1 else None


def _bind(after: AfterMove, move: Move) -> After:
    return lambda trade, outcome: after(move, trade, outcome)


def told_of(outcome: Outcome, move: Move) -> Told:
    """A close of a hedge or of everything is decided anew, whatever refuses it: nothing may be left behind."""
    if outcome.ending is Ending.NOT_POSSIBLE and move in CLOSES:
        return Told(Ending.FAILED, outcome.reason)
    return Told(outcome.ending, outcome.reason, outcome.wait)

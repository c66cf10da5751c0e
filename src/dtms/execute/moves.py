"""Carrying single moves out: look, size, ask the rails, send, and decide anew where the price ran away."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.decide.defence import Impossible, Plan, Planned, Sight, closed_members, plan
from dtms.decide.trade_state import Due, Move, is_spent, mark
from dtms.domain.actions import Action, ActionKind, ClosePosition, Ending, MoveStop, OpenPosition, Outcome, Serves
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Instrument, Tick
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Retry, Trade
from dtms.execute.answers import INVALID_STOPS
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.carrying import MEANWHILE
from dtms.execute.desk import Desk, Told
from dtms.execute.retries import SOON_MS, next_try_ms
from dtms.execute.sending import NOTHING_SERVED, Sending, Serving
from dtms.ports.store import Unit

TRIES_AT_ONCE = 3
LOOK_SOON_MS = 1_000
FARTHER = 2.0
"""A stop that the broker takes for too near is set as many times as far away, once."""
CLOSES = frozenset({Move.CLOSE_HEDGE, Move.CLOSE_ALL, Move.CLOSE_REST})
"""Moves that are done when nothing is left of what they close; whatever refuses them, they are not given up."""
CHANGES_EXPOSURE = frozenset({Move.OPEN_HEDGE, Move.READD, Move.CLOSE_PART})
NEEDS_ATR = frozenset({Move.TIGHTEN, Move.OPEN_HEDGE})
AfterMove = Callable[[Move, Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What is committed together with the last action of a move."""


class Moves:
    """Makes moves for one trade at a time; the caller holds its lock."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._sending = Sending(desk)
        self._holding = self._sending.holding

    @property
    def standstill(self) -> str | None:
        """Why nothing can be done on the account at all, or None."""
        return self._holding.standstill.reason

    async def make(
        self,
        watch: Watch,
        symbol: SymbolWatch,
        move: Move,
        due: Due | None,
        after: AfterMove | None,
    ) -> Told:
        """Plan a move on a fresh look and carry its actions out, deciding anew where the price ran away."""
        told, farther = Told(Ending.FAILED, "no quote", wait=True), 0.0
        for tried in range(TRIES_AT_ONCE):
            sight, planned = await self._planned(watch, symbol, move, farther)
            if sight is None or isinstance(planned, Told):
                return planned if isinstance(planned, Told) else told
            if isinstance(planned, Impossible):
                told = await self._impossible(watch, move, planned)
                return Told(Ending.FAILED, told.reason, wait=True) if move in CLOSES else told
            if not planned.actions:
                if farther and not planned.pending:
                    return await self._stand_in(watch, symbol, move, due, after)
                return _nothing_to_send(watch, move, planned)
            if move is Move.CLOSE_PART and watch.trade.part_left is None:
                watch.trade = replace(watch.trade, part_left=_part(planned))
            outcome = await self._sending.carry_out(watch, symbol, sight, planned, _serving(watch, move, due, after))
            told = told_of(outcome, move)
            if told.ending is Ending.DONE and (rest := _rest(watch.trade, move)):
                told = Told(Ending.FAILED, rest, wait=move is Move.CLOSE_PART)
                continue
            if outcome.retcode == INVALID_STOPS and farther and move not in CLOSES:
                return await self._stand_in(watch, symbol, move, due, after)
            if outcome.ending is not Ending.FAILED or tried >= outcome.again:
                break
            farther = _farther(sight.tick, planned.actions) if outcome.retcode == INVALID_STOPS else 0.0
            self._desk.broker.forget(watch.trade.symbol)
        return told

    async def _planned(
        self, watch: Watch, symbol: SymbolWatch, move: Move, farther: float
    ) -> tuple[Sight | None, Planned | Told]:
        """Look, size, and ask what may hold it back; no stop within ``farther``, a price difference."""
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
        if move in CHANGES_EXPOSURE and _differs(watch.trade, sight):
            watch.next_fast_ms = 0  # somebody closed or added, or a request was carried out late: matched first
            return None, Told(Ending.FAILED, "the broker's lots are not those that are remembered", wait=True)
        sight = replace(sight, instrument=_keeping_away(sight.instrument, farther))
        planned = plan(move, sight)
        if isinstance(planned, Impossible):
            return sight, planned
        if planned.pending:
            watch.trade = replace(watch.trade, machine=replace(watch.trade.machine, breakeven_pending=True))
        held = await self._holding.held(sight, symbol, watch, planned.actions, move) if planned.actions else None
        return sight, held or planned

    async def _read_costs(self, watch: Watch) -> None:
        """Learn what the position has cost so far, once."""
        if watch.cost_money is None:
            deals = await self._desk.broker.deals(position=watch.trade.identifier)
            watch.cost_money = sum(d.commission + d.fee for d in deals)

    def sight(self, watch: Watch, symbol: SymbolWatch, snapshot: Snapshot) -> Sight | None:
        """Gather what sizing sees; None without a sound quote."""
        return self._sending.sight(watch, symbol, snapshot)

    async def _stand_in(
        self, watch: Watch, symbol: SymbolWatch, move: Move, due: Due | None, after: AfterMove | None
    ) -> Told:
        """The broker takes no tighter stop: it stays where it is, and a part is closed, once per visit."""
        why = f"{move.value}: the broker refuses every stop nearer than the live one ({INVALID_STOPS})"
        details = {"action": move.value, "rule": "invalid_stops", "reason": why, "alert": "ERROR"}
        fact = self._desk.journal.fact(FactKind.REFUSAL, why, trade=watch.trade, details={**details})
        await self._desk.store.commit(Unit(facts=(fact,)))
        if move is not Move.TIGHTEN or due is None or is_spent(watch.trade.machine, Move.CLOSE_PART):
            return Told(Ending.NOT_POSSIBLE, why)
        told = await self.make(watch, symbol, Move.CLOSE_PART, due, after)
        if told.ending is Ending.DONE:
            return Told(Ending.DONE, f"{why}; a part was closed instead")
        return replace(told, reason=f"{why}; close_part: {told.reason}")

    async def _impossible(self, watch: Watch, move: Move, why: Impossible) -> Told:
        is_again = move in CLOSES or watch.trade.retry is not None
        if is_again and watch.noted.get("refusal") == why.reason:
            return Told(Ending.NOT_POSSIBLE, why.reason)  # decided anew again and again, and told once
        watch.noted["refusal"] = why.reason
        fact = self._desk.journal.fact(
            FactKind.REFUSAL,
            f"{move.value} is not possible: {why.reason}",
            trade=watch.trade,
            details={"action": move.value, "rule": why.rule, "rail": why.rule, "reason": why.reason},
        )
        await self._desk.store.commit(Unit(facts=(fact,)))
        return Told(Ending.NOT_POSSIBLE, why.reason)

    # --- outside the table's rows --------------------------------------------------------------------------------

    async def pending_breakeven(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Make the breakeven move that waited for the price."""
        if self._is_patient(watch, ActionKind.BREAKEVEN):
            return
        told = await self.make(watch, symbol, Move.BREAKEVEN, None, None)
        await self._remember(watch, ActionKind.BREAKEVEN, told)
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
        if not planned.actions:
            return Told(Ending.DONE, planned.note)
        kind = planned.actions[0].kind
        if self._is_patient(watch, kind):
            return Told(Ending.FAILED, "it failed a moment ago", wait=True)
        if (reason := await self._holding.waits(sight, watch)) is not None:
            return Told(Ending.FAILED, reason, wait=True)
        outcome = await self._sending.carry_out(watch, symbol, sight, planned, NOTHING_SERVED)
        told = told_of(outcome, Move.TIGHTEN)
        await self._remember(watch, kind, told)
        return told

    def _is_patient(self, watch: Watch, kind: ActionKind) -> bool:
        """Answer whether a kind of action failed so lately that it is not tried yet, or is still unresolved."""
        retry = watch.patience.get(kind.value)
        waits = retry is not None and self._desk.clock.market_ms() < retry.not_before_ms
        return waits or any(i.action.kind is kind for i in watch.open_intents.values())

    async def _remember(self, watch: Watch, kind: ActionKind, told: Told) -> None:
        """Back off after a failure, without end; a person is called when there were too many in a row."""
        if told.ending is Ending.DONE:
            watch.patience.pop(kind.value, None)
            return
        before = watch.patience.get(kind.value, Retry(move=kind.value, failures=0, not_before_ms=0))
        failures, settings = before.failures + (not told.wait), self._desk.settings.protection
        steps = max(failures, before.waits + 1)
        now_ms = self._desk.clock.market_ms()
        until = now_ms + SOON_MS if told.soon else next_try_ms(watch.trade, steps, now_ms, settings)
        watch.patience[kind.value] = replace(before, failures=failures, waits=before.waits + 1, not_before_ms=until)
        if failures == settings.failures_max and failures > before.failures:
            trade = replace(watch.trade, needs_attention=f"{kind.value} failed {failures} times: {told.reason}")
            fact = self._desk.journal.fact(FactKind.NEEDS_ATTENTION, trade.needs_attention or "", trade=trade)
            await self._desk.commit(watch, trade, [fact])


def _differs(trade: Trade, sight: Sight) -> bool:
    """Answer whether the broker holds other lots of the family than the trade remembers."""
    held = {p.ticket: p.volume for p in (*sight.side_positions, *sight.hedges)}
    known = {m.ticket: m.volume for m in trade.members}
    return held != ({trade.position: trade.volume, **known} if trade.volume > ZERO else known)


def _nothing_to_send(watch: Watch, move: Move, planned: Plan) -> Told:
    """A move without an action is done, unless what it closes is open and was left out of the list."""
    if move in CLOSES and is_open(watch.trade, move):
        return _not_listed(watch)
    if move is Move.CLOSE_PART:  # what is left of it is less than can be closed
        trade = watch.trade
        watch.trade = replace(trade, part_left=None, machine=mark(trade.machine, Move.CLOSE_PART))
    return Told(Ending.DONE, planned.note)


def _rest(trade: Trade, move: Move) -> str | None:
    """Tell that a close was filled in part, and there is more to close of it."""
    if move in CLOSES and is_open(trade, move):
        return "filled in part, and some of it is still open"
    if move is Move.CLOSE_PART and trade.part_left is not None:
        return f"filled in part, and {trade.part_left} lots of it are left"
    return None


def _keeping_away(instrument: Instrument, distance: float) -> Instrument:
    """Return the instrument with a stops level of at least a distance."""
    points = max(instrument.stops_level_points, int(distance / instrument.point))
    return replace(instrument, stops_level_points=points)


def _farther(tick: Tick, actions: Sequence[Action]) -> float:
    """Return how far a stop has to be, after those of these actions were too near."""
    stops = [(a.side, a.stop) for a in actions if isinstance(a, MoveStop | OpenPosition)]
    tried = [abs(tick.closing(side) - stop) for side, stop in stops if stop is not None]
    return FARTHER * max(tried, default=0.0)


def _not_listed(watch: Watch) -> Told:
    """Wait for evidence of what the broker left out of its list, and have it looked for at once."""
    watch.next_fast_ms = 0
    return Told(Ending.FAILED, "the broker does not list what is remembered as open", wait=True)


def is_open(trade: Trade, move: Move) -> bool:
    """Answer whether something of what a closing move closes is still open."""
    return bool(trade.hedges) if move is Move.CLOSE_HEDGE else trade.volume > ZERO or bool(trade.members)


def _part(planned: Plan) -> Decimal:
    """Return the lots of a part, whichever positions they are taken from."""
    return sum((a.volume for a in planned.actions if isinstance(a, ClosePosition)), ZERO)


def _serving(watch: Watch, move: Move, due: Due | None, after: AfterMove | None) -> Serving:
    """Say which transition a move's actions serve, and what is committed with the last of them."""
    state = watch.trade.machine.state
    serves = None if due is None else Serves(rule=due.row.rule, from_state=state, to_state=due.row.to)
    return Serving(serves, None if after is None else lambda trade, outcome: after(move, trade, outcome))


def told_of(outcome: Outcome, move: Move) -> Told:
    """A close of a hedge or of everything is decided anew, whatever refuses it: nothing may be left behind."""
    if outcome.ending is Ending.NOT_POSSIBLE and move in CLOSES:
        return Told(Ending.FAILED, outcome.reason)
    return Told(outcome.ending, outcome.reason, outcome.wait, soon=outcome.rule in MEANWHILE)

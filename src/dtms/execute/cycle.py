"""One deep check over one trade: step the machine, carry the moves out, and enter a row when its moves ended.

A row is taken again and again until none is due, so a shock passes several states in one check. Failures leave the
state where it is; they are counted per row, with back-off, and decided anew on fresh data.
"""

from collections.abc import Container, Sequence
from dataclasses import replace

from dtms.decide import trade_state
from dtms.decide.guards import observe_close
from dtms.decide.settle import ROW_BY_RULE
from dtms.decide.trade_state import Due, Move, Row, Situation, Way
from dtms.domain.actions import Ending, Outcome
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.prices import ZERO
from dtms.domain.trade import State, Trade
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.closing import Closing
from dtms.execute.desk import Desk, Told, in_brackets
from dtms.execute.moves import CLOSES, AfterMove, Moves, is_open
from dtms.execute.retries import Retries
from dtms.execute.shadow import Shadow
from dtms.ports.store import Unit

STEPS_MAX = 8
GONE = Due(ROW_BY_RULE["position_gone"], "the position was closed at the broker")


class Cycle:
    """Steps single trades."""

    def __init__(self, desk: Desk, moves: Moves) -> None:
        self._desk = desk
        self._moves = moves
        self._retries = Retries(desk)
        self._shadow = Shadow(desk, moves)
        self._closing = Closing(broker=desk.broker, store=desk.store, clock=desk.clock)

    # --- stepping --------------------------------------------------------------------------------------------------

    async def step(self, watch: Watch, symbol: SymbolWatch, *, adding: bool) -> bool:
        """Step one trade; with ``adding`` False stop before a row that adds risk and answer True: it is still due."""
        for _ in range(STEPS_MAX):
            if not watch.trade.is_active:
                return False
            due = self.due(watch, symbol, self._retries.blocked(watch))
            if due is None:
                await self._retries.forget(watch, lambda others: self.due(watch, symbol, others))
                return False
            if due.row.adds_risk and not adding and self._desk.acts(watch):
                return True
            if not await self._take(watch, symbol, due):
                return False
        return False

    def due(self, watch: Watch, symbol: SymbolWatch, blocked: Container[str] = ()) -> Due | None:
        """Return the row that is due for a trade, or for its shadow in observe."""
        if watch.trade.volume == ZERO:  # whatever a shadow says, and without any view of the market
            return None if GONE.row.rule in blocked else GONE
        machine, at = self._desk.machine(watch.trade), self.situation(watch, symbol)
        return trade_state.next_due(machine, at, blocked) if at else None

    def situation(self, watch: Watch, symbol: SymbolWatch) -> Situation | None:
        """Gather what the triggers see; None while there is no view."""
        view, trade = symbol.view, watch.trade
        if view is None:
            return None
        machine, now = self._desk.machine(trade), self._desk.clock.market_ms()
        return Situation(
            side=trade.side,
            view=view,
            score=view.score(trade.side),
            settings=self._desk.settings.protection,
            flat_min=_minutes(symbol, machine.flat_since_ms, now),
            recovery_min=_minutes(symbol, machine.recovery_since_ms, now),
            position_gone=trade.volume == ZERO,
            hedge_gone=machine is trade.machine and machine.state is State.HEDGED and not trade.hedges,
            alongside=trade.alongside,
        )

    # --- taking a row ----------------------------------------------------------------------------------------------

    async def _take(self, watch: Watch, symbol: SymbolWatch, due: Due) -> bool:
        if not self._desk.acts(watch) and due.row.rule != "position_gone":
            return await self._shadow.take(watch, symbol, due)
        if Move.CLOSE_ALL in due.row.moves:  # what is closed first tells the reason, whatever is left to close
            watch.trade = replace(watch.trade, close_reason=due.reason)
        endings: list[str] = []
        for move in (moves := self._left(watch.trade, due.row)):
            after = self._entering(due, endings) if move is moves[-1] else _marking
            told = await self._moves.make(watch, symbol, move, due, after)
            if told.ending is Ending.NOT_POSSIBLE and move is Move.CLOSE_PART:
                watch.trade = replace(watch.trade, part_left=None)
            if told.ending is Ending.NOT_POSSIBLE and due.row.substitute:
                return await self._substitute(watch, symbol, due, told)
            if told.ending in (Ending.FAILED, Ending.UNKNOWN):
                await self._retries.count(watch, due.row, told)
                return False
            endings.append(_ended(move, told))
        if due.row.way is Way.END:
            await self._end(watch, due, endings)
        elif watch.trade.machine.state is not due.row.to:  # the last move needed no request
            await self._enter(watch, due, endings)
        return True

    def _left(self, trade: Trade, row: Row) -> list[Move]:
        """Return a row's moves but those that ran in this visit, and a cleaning up of nothing."""
        if row is GONE.row and not trade.members:
            return []
        moves = trade_state.moves_of(row, alongside=trade.alongside)
        return [m for m in moves if not trade_state.is_spent(trade.machine, m)]

    def _entering(self, due: Due, endings: list[str]) -> AfterMove:
        """Make the transition that is committed together with a row's last action."""

        def after(move: Move, trade: Trade, outcome: Outcome) -> tuple[Trade, Sequence[Fact]]:
            trade, _ = _marking(move, trade, outcome)
            if move in CLOSES and (due.row.way is Way.END or is_open(trade, move)):
                return trade, ()  # an end is entered with its figures, and nothing while a part is still open
            if _is_begun(move, trade):
                return trade, ()
            told = [*endings, f"{move.value}: {outcome.ending.value}"]
            return self._entered(trade, due, told, outcome.price)

        return after

    def _entered(self, trade: Trade, due: Due, endings: Sequence[str], price: float | None) -> tuple[Trade, list[Fact]]:
        before, now = trade.machine, self._desk.clock.market_ms()
        machine = trade_state.enter(before, due.row, now)
        trade = replace(trade, machine=machine, retry=None)
        if machine.state in (State.HEALTHY, State.CLOSED):
            trade = replace(trade, part_left=None)  # what is left of a part belongs to the visit that ended
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
        await self._desk.commit(watch, trade, facts)

    async def _end(self, watch: Watch, due: Due, endings: Sequence[str]) -> None:
        """Enter CLOSED with the figures of the deals; what the market closed was counted when it was seen."""
        trade = await self._closing.figures(watch.trade, self._desk.settings.intents)
        trade, facts = self._entered(trade, due, endings, trade.close_price)
        rails = self._desk.rails
        if due.row is not GONE.row:
            rails = observe_close(rails, by_stop=False, profit=trade.realised)
        await self._desk.keep(Unit(trades=(trade,), facts=facts, rails=rails.as_json()), trade)
        self._desk.rails = rails
        self._desk.believe(watch, trade, facts)

    async def _substitute(self, watch: Watch, symbol: SymbolWatch, due: Due, why: Told) -> bool:
        """Run what stands in for a hedge that is not possible; the state stays, and the flat timer runs."""
        endings = [f"{due.row.moves[0].value}: not possible{in_brackets(why.reason)}"]
        for move in due.row.substitute:
            told = await self._moves.make(watch, symbol, move, due, None)
            if told.ending in (Ending.FAILED, Ending.UNKNOWN):
                await self._retries.count(watch, due.row, told)
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
        await self._desk.commit(watch, trade, [fact])
        return True


def _minutes(symbol: SymbolWatch, since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else symbol.bars.traded_minutes(since_ms, now_ms)


def _ended(move: Move, told: Told) -> str:
    """Tell how a move ended; one that needed no request says why."""
    if told.ending is Ending.DONE and told.reason:
        return f"{move.value}: {told.reason}"
    return f"{move.value}: {told.ending.value.replace('_', ' ')}{in_brackets(told.reason)}"


def _marking(move: Move, trade: Trade, _: Outcome) -> tuple[Trade, Sequence[Fact]]:
    """Remember a done move together with its outcome; a part of which some lots are left is not done."""
    return (trade if _is_begun(move, trade) else replace(trade, machine=trade_state.mark(trade.machine, move))), ()


def _is_begun(move: Move, trade: Trade) -> bool:
    return move is Move.CLOSE_PART and trade.part_left is not None

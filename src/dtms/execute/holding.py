"""What stops a sized move before it is sent: switches, an account that stands still, a closed market, rails, spikes."""

from collections.abc import Sequence

from dtms.decide.defence import Impossible, Sight
from dtms.decide.guards import GuardInput, is_spread_spike, refuse_risk
from dtms.decide.trade_state import Move
from dtms.domain.actions import Action, Ending, MoveStop, Outcome
from dtms.execute.answers import MARKET_CLOSED
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.desk import Desk, Told
from dtms.execute.standstill import Standstill


class Holding:
    """Holds moves back."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.standstill = Standstill(store=desk.store, clock=desk.clock, journal=desk.journal)
        self._closed: dict[str, int] = {}
        """Symbols whose market was closed → time of the quote at which it was."""

    async def held(
        self, sight: Sight, symbol: SymbolWatch, watch: Watch, actions: Sequence[Action], move: Move
    ) -> Impossible | Told | None:
        """Return what stops a sized move of a row, or None."""
        if (reason := await self.waits(sight, watch)) is not None:
            return Told(Ending.FAILED, reason, wait=True)
        exposes = any(a.kind.changes_exposure for a in actions)
        if exposes and any(i.action.kind.changes_exposure for i in watch.open_intents.values()):
            return Impossible("unresolved_intent", "nobody can say yet whether an earlier one was executed")
        if move.adds_risk:
            refusal = refuse_risk(self._guard_input(sight, symbol, move))
            return Impossible(refusal.rail, refusal.reason) if refusal else None
        return self._spiked(sight, symbol, actions)

    async def waits(self, sight: Sight, watch: Watch) -> str | None:
        """Return what every request has to wait for, or None."""
        if self._desk.halted:
            return "halted by the kill switch"
        if not self._desk.acts(watch):
            return f"mode is {self._desk.mode_of(watch.trade)}"
        if (reason := await self.standstill.check(sight.account)) is not None:
            return f"nothing can be done on this account: {reason}"
        if self._closed.get(sight.trade.symbol) == sight.tick.time_ms:
            return f"the market of {sight.trade.symbol} is closed: the next quote is waited for"
        return None

    async def note(self, outcome: Outcome, sight: Sight, symbol: SymbolWatch) -> None:
        """Learn from how a request ended."""
        if outcome.retcode == MARKET_CLOSED:
            self._closed[symbol.name] = sight.tick.time_ms
            symbol.bars.note_closed(self._desk.clock.market_ms())
        else:
            self._closed.pop(symbol.name, None)
        await self.standstill.note(outcome)

    def _spiked(self, sight: Sight, symbol: SymbolWatch, actions: Sequence[Action]) -> Told | None:
        """Delay a stop that the spread itself would hit."""
        if not is_spread_spike(sight.tick, symbol.bars.median_spread(), self._desk.settings.rails):
            return None
        price, reach = sight.tick.closing(sight.trade.side), sight.clearance * 1.000001
        if not any(isinstance(a, MoveStop) and abs(price - a.stop) <= reach for a in actions):
            return None
        reason = f"spread spike {sight.tick.spread:.6g}: the spread itself would hit the stop"
        return Told(Ending.FAILED, reason, wait=True)

    def _guard_input(self, sight: Sight, symbol: SymbolWatch, move: Move) -> GuardInput:
        return GuardInput(
            trade=sight.trade,
            tick=sight.tick,
            now_ms=self._desk.clock.market_ms(),
            median_spread=symbol.bars.median_spread(),
            stale=symbol.stale,
            rails=self._desk.rails,
            releases=self._desk.releases,
            last_same_action_ms=sight.trade.acted_ms.get(move.value),
            settings=self._desk.settings.rails,
        )

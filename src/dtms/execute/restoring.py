"""Stops that the broker lost while nobody watched: told, owed, and put back as soon as the broker takes them.

A stop that cannot be put back at once (a closed market, a lost answer) stays owed across restarts. One that the market
has passed meanwhile, or that is not dtms' to set because a person only wants to watch, is an alert.
"""

import structlog

from dtms.decide.defence import Planned, Sight, restored_stops, unrestorable
from dtms.decide.recovery import forgiven, owed, owes, owing
from dtms.decide.told import is_bared_by
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Trade
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.desk import Desk
from dtms.execute.moves import Moves

log = structlog.get_logger(__name__)


class Restoring:
    """Puts stops back; the caller holds the trade's lock."""

    def __init__(self, desk: Desk, moves: Moves) -> None:
        self._desk = desk
        self._moves = moves

    async def note(self, watch: Watch, snapshot: Snapshot) -> None:
        """Remember which recorded stops are missing at the broker, durably where they are to be put back."""
        found = owing(watch.trade, snapshot.positions)
        if not found.notes or await self._was_asked(watch.trade):
            return
        facts = [self._desk.journal.fact(n.kind, n.summary, trade=watch.trade, details=n.details) for n in found.notes]
        restores = self._desk.mode_of(watch.trade) is Mode.AUTO and not watch.trade.alongside
        await self._desk.commit(watch, found.trade if restores else watch.trade, facts)

    async def _was_asked(self, trade: Trade) -> bool:
        """Answer whether somebody had the own position's stop removed through dtms: then it is not lost."""
        return is_bared_by(await self._desk.store.intents(ticket=trade.ticket), trade.position) is not None

    def is_due(self, watch: Watch, symbol: SymbolWatch) -> bool:
        """Answer whether something is owed to a trade in a market that is open."""
        return owes(watch.trade) and bool(owed(watch.trade)) and symbol.bars.hours.is_open(self._desk.clock.market_ms())

    async def restore(self, watch: Watch, symbol: SymbolWatch) -> bool:
        """Put back what can be; True when something was sent, and an earlier look is outdated."""
        is_ours = not watch.trade.alongside and self._desk.acts(watch)
        if not owed(watch.trade) or self._desk.halted or not is_ours:
            return False
        passed: list[int] = []

        def size(sight: Sight) -> Planned:
            passed.extend(unrestorable(sight))
            return restored_stops(sight)

        requests = self._desk.executor.requests
        told = await self._moves.protect(watch, symbol, size)
        log.warning("stop_restored", ticket=watch.ticket, ending=told.ending.value, reason=told.reason)
        if passed:
            await self._give_up(watch, passed)
        return self._desk.executor.requests > requests

    async def _give_up(self, watch: Watch, tickets: list[int]) -> None:
        """Call a person: what stood at the broker is gone, and can not be put back."""
        trade = watch.trade
        facts = [self._lost(trade, ticket, stop) for ticket, stop in owed(trade).items() if ticket in tickets]
        await self._desk.commit(watch, forgiven(trade, tickets), facts)

    def _lost(self, trade: Trade, ticket: int, stop: float) -> Fact:
        told = f"the stop {stop:.10g} of #{ticket} is lost, and the market has passed it: nothing protects it"
        details: dict[str, Json] = {"position": ticket, "stop": stop, "alert": "CRITICAL"}
        return self._desk.journal.fact(FactKind.NEEDS_ATTENTION, told, trade=trade, details=details)

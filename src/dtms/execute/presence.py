"""What became of positions and of open intents: the broker's lists against the book, trade by trade."""

from collections.abc import Mapping, Sequence

from dtms.decide import recovery
from dtms.decide.guards import RailState, observe_close
from dtms.decide.told import attributed
from dtms.domain.actions import ClosePosition, Intent, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Member, Role, State, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.resolving import Resolving
from dtms.execute.seen_stops import remember
from dtms.ports.store import Unit


class Presence:
    """Keeps trades true to the broker's positions."""

    def __init__(self, desk: Desk, book: Book) -> None:
        self._desk = desk
        self._book = book
        self._resolving = Resolving(desk, book)

    async def check(self, watch: Watch, snapshot: Snapshot) -> None:
        """Match one trade with a look at the broker, and record what differs."""
        before = watch.trade
        if watch.open_intents:
            await self._resolving.resolve(watch)
        if _has_shrunk(watch.trade, snapshot.positions):
            await self._resolving.late_parts(watch)
        if watch.trade is not before:  # by a newer look than this one
            watch.next_fast_ms = 0
            return
        if _is_being_closed(watch, snapshot.positions):
            return  # it is told when it is known that it was dtms that closed it
        trade, positions = watch.trade, snapshot.positions
        if is_as_known(trade, positions):
            return
        deals = {i: await self._desk.broker.deals(position=i) for i in recovery.missing(trade, positions)}
        matched = recovery.match(trade, positions, deals)
        if matched.trade == trade and not matched.notes:
            return
        if any(note.kind is FactKind.CHANGED_OUTSIDE for note in matched.notes):
            matched = attributed(trade, matched, await self._desk.store.intents(ticket=trade.ticket))
        rails = self._desk.rails
        if matched.trade.volume == ZERO and trade.volume > ZERO:
            by_stop = recovery.closed_by_stop(deals.get(trade.identifier, ()))
            rails = observe_close(rails, by_stop=by_stop, profit=matched.trade.realised)
        facts = [self._desk.journal.fact(n.kind, n.summary, trade=trade, details=n.details) for n in matched.notes]
        remember(watch, matched.trade, self._desk.clock.market_ms())
        await self.commit(watch, matched.trade, facts, rails)

    async def arrived(self, watch: Watch, intent: Intent) -> bool:
        """Adopt what a request that counts as not executed did after all; False when nothing shows that it did."""
        return await self._resolving.arrived(watch, intent)

    async def commit(self, watch: Watch, trade: Trade, facts: Sequence[Fact], rails: RailState | None = None) -> None:
        """Commit a trade and what is told of it, and the rails that it moved, then believe it."""
        changed = rails is not None and rails != self._desk.rails
        kept = rails.as_json() if rails is not None and changed else None
        await self._desk.store.commit(Unit(trades=(trade,), facts=facts, rails=kept))
        self._desk.rails = rails or self._desk.rails
        watch.trade = trade
        self._book.index(trade)
        self._desk.journal.tell(facts)

    # --- what is left ----------------------------------------------------------------------------------------------

    def is_settled(self, watch: Watch) -> bool:
        """Answer whether nothing of a trade that ended can still show up or be left at the broker."""
        is_over = self._desk.clock.market_ms() >= watch.linger_ms
        return not watch.trade.members and not watch.open_intents and is_over

    def surplus(self, trade: Trade) -> tuple[Member, ...]:
        """Return hedges that stand beside a trade whose state wants none, and what came too late to be wanted."""
        hedged = trade.machine.state is State.HEDGED
        return tuple(m for m in trade.members if m.ticket in trade.surplus or (m.role is Role.HEDGE and not hedged))


def _has_shrunk(trade: Trade, positions: Mapping[int, Position]) -> bool:
    """Answer whether the broker lists fewer lots on the trade's side than are remembered, or none of a position."""
    known = {m.ticket: m.volume for m in trade.readds} | ({trade.position: trade.volume} if trade.volume else {})
    return any(ticket not in positions or positions[ticket].volume < volume for ticket, volume in known.items())


def _is_being_closed(watch: Watch, positions: Mapping[int, Position]) -> bool:
    """Answer whether an open request explains that lots of a listed position went."""
    return any(
        isinstance(action := intent.action, ClosePosition)
        and intent.state is not IntentState.NEEDS_HUMAN
        and action.position in positions
        and action.expected_volume - action.volume <= positions[action.position].volume < action.expected_volume
        for intent in watch.open_intents.values()
    )


def is_as_known(trade: Trade, positions: Mapping[int, Position]) -> bool:
    """Answer, quickly, whether the broker has the family exactly as the trade remembers it."""
    position = positions.get(trade.position)
    if position is None:
        if trade.volume > ZERO:
            return False
    elif (
        position.volume != trade.volume
        or position.stop != trade.stop
        or position.target != trade.target
        or position.identifier != trade.identifier
        or position.side is not trade.side
        or trade.unconfirmed
    ):
        return False
    return all(_member_as_known(m, positions) for m in trade.members)


def _member_as_known(member: Member, positions: Mapping[int, Position]) -> bool:
    position = positions.get(member.ticket)
    return position is not None and position.volume == member.volume and position.stop == member.stop

"""What became of positions and of open intents: the broker's lists against the book, trade by trade."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from dtms.decide import recovery, settle
from dtms.decide.guards import RailState, observe_close
from dtms.domain.actions import ClosePosition, Ending, Intent, IntentState, MoveStop, Outcome
from dtms.domain.facts import Fact, FactKind
from dtms.domain.position import DealEntry, Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Member, Role, State, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.closing import Closing
from dtms.execute.desk import Desk
from dtms.execute.executor import is_shown, settled
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)


class Presence:
    """Keeps trades true to the broker's positions."""

    def __init__(self, desk: Desk, book: Book) -> None:
        self._desk = desk
        self._book = book
        self._closing = Closing(broker=desk.broker, store=desk.store, clock=desk.clock)

    async def check(self, watch: Watch, snapshot: Snapshot) -> None:
        """Match one trade with a look at the broker, and record what differs."""
        if watch.open_intents:
            await self.resolve(watch, snapshot)
        trade, positions = watch.trade, snapshot.positions
        if is_as_known(trade, positions):
            return
        deals = {i: await self._desk.broker.deals(position=i) for i in recovery.missing(trade, positions)}
        matched = recovery.match(trade, positions, deals)
        if matched.trade == trade and not matched.notes:
            return
        rails = self._desk.rails
        if matched.trade.volume == ZERO and trade.volume > ZERO:
            by_stop = recovery.closed_by_stop(deals.get(trade.identifier, ()))
            rails = observe_close(rails, by_stop=by_stop, profit=matched.trade.realised)
        facts = [self._desk.journal.fact(n.kind, n.summary, trade=trade, details=n.details) for n in matched.notes]
        await self.commit(watch, matched.trade, facts, rails)

    async def commit(self, watch: Watch, trade: Trade, facts: Sequence[Fact], rails: RailState | None = None) -> None:
        """Commit a trade and what is told of it, and the rails that it moved, then believe it."""
        changed = rails is not None and rails != self._desk.rails
        kept = rails.as_json() if rails is not None and changed else None
        await self._desk.store.commit(Unit(trades=(trade,), facts=facts, rails=kept))
        self._desk.rails = rails or self._desk.rails
        watch.trade = trade
        self._book.index(trade)
        self._desk.journal.tell(facts)

    # --- open intents ----------------------------------------------------------------------------------------------

    async def resolve(self, watch: Watch, snapshot: Snapshot) -> None:
        """Look for what unanswered requests did; what shows up is adopted, what does not stays unknown."""
        for intent in list(watch.open_intents.values()):
            found = await self._found(watch.trade, intent, snapshot)
            if found is not None:
                await self._adopt(watch, intent, *found)
            elif intent.state is not IntentState.NEEDS_HUMAN:
                await self._age(watch, intent)

    async def _found(self, trade: Trade, intent: Intent, snapshot: Snapshot) -> tuple[Trade, int] | None:
        """Return the trade after what the intent turned out to have done, and when it did; None while nothing shows."""
        action, now = intent.action, self._desk.clock.market_ms()
        magic = self._desk.broker.magic_of(intent.number)
        symbol = self._book.symbols[trade.symbol]
        if isinstance(action, MoveStop):
            shown = is_shown(action, snapshot, magic, symbol.instrument)
            return (settle.stop_moved(trade, action), now) if shown else None
        positions, _, deals = await self._desk.broker.find_by_magic(magic, intent.created_ms)
        if not deals and not positions:
            return None
        at_ms = min((d.time_ms for d in deals), default=now)
        if isinstance(action, ClosePosition):
            out = sum((d.volume for d in deals if d.entry is not DealEntry.IN), ZERO)
            return (settle.closed(trade, action, out), at_ms) if out > ZERO else None
        return settled(trade, intent, positions, magic), at_ms

    async def _adopt(self, watch: Watch, intent: Intent, trade: Trade, at_ms: int) -> None:
        """Record a late confirmation, and make the transition that it serves; what is no longer wanted is closed."""
        before = watch.trade.machine.state
        surplus = settle.is_surplus(watch.trade, intent)
        known = {m.ticket for m in watch.trade.members}
        trade = settle.late(trade, intent.action, intent.serves, at_ms)
        if not trade.is_active:
            trade = await self._closed(trade, intent)
        others = [i for n, i in watch.open_intents.items() if n != intent.number and i.action.kind.changes_exposure]
        attention = None if intent.state is IntentState.NEEDS_HUMAN else trade.needs_attention
        trade = replace(trade, reduce_only=bool(others), retry=None, needs_attention=attention)
        done = replace(intent, state=IntentState.CONFIRMED, resolved_ms=self._desk.clock.market_ms())
        outcome = Outcome(ending=Ending.DONE, reason="confirmed late", time_ms=at_ms)
        facts = [self._desk.journal.action(trade, done, outcome)]
        if trade.machine.state is not before:
            facts.append(self._late_transition(trade, before, done))
        if not trade.is_active:
            facts.append(self._desk.journal.closed(trade))
        await self._desk.store.commit(Unit(trades=(trade,), intents=(done,), facts=facts))
        watch.open_intents.pop(intent.number, None)
        watch.trade = trade
        self._book.index(trade)
        self._desk.journal.tell(facts)
        watch.part_left = None
        if surplus:
            watch.surplus |= {m.ticket for m in trade.members} - known
            log.warning("surplus_opened", ticket=trade.ticket, intent=intent.number)

    async def _closed(self, trade: Trade, intent: Intent) -> Trade:
        """Give a trade that a late confirmation ended its figures."""
        assert intent.serves is not None
        reason = trade.close_reason or f"{intent.serves.rule.replace('_', ' ')}, confirmed late"
        return replace(await self._closing.figures(trade, self._desk.settings.intents), close_reason=reason)

    def _late_transition(self, trade: Trade, before: State, intent: Intent) -> Fact:
        serves = intent.serves
        assert serves is not None
        self._desk.transitions += 1
        details = {
            "from": before.value,
            "to": trade.machine.state.value,
            "rule": serves.rule,
            "reason": "confirmed late",
            "score": None,
        }
        summary = f"{before} → {trade.machine.state}: its request was confirmed late"
        return self._desk.journal.fact(FactKind.TRANSITION, summary, trade=trade, details=details)

    async def _age(self, watch: Watch, intent: Intent) -> None:
        """Let a target-state request that did not happen be decided anew; any other waits, in the end for a person."""
        settings = self._desk.settings.intents
        age_s = (self._desk.clock.market_ms() - intent.created_ms) / 1000
        if not intent.action.kind.changes_exposure and age_s > settings.settle_s:
            await self._end(watch, intent, IntentState.NOT_EXECUTED, "not to be seen after the settle window")
        elif intent.action.kind.changes_exposure and age_s > settings.escalate_s:
            await self._escalate(watch, intent)

    async def _end(self, watch: Watch, intent: Intent, state: IntentState, why: str) -> None:
        ended = replace(intent, state=state, message=why, resolved_ms=self._desk.clock.market_ms())
        fact = self._desk.journal.fact(
            FactKind.INTENT, f"{intent.action.kind.value}: {why}", trade=watch.trade, details={"intent": intent.number}
        )
        await self._desk.store.commit(Unit(intents=(ended,), facts=(fact,)))
        watch.open_intents.pop(intent.number, None)

    async def _escalate(self, watch: Watch, intent: Intent) -> None:
        waiting = replace(intent, state=IntentState.NEEDS_HUMAN)
        what = f"{intent.action.kind.value} (intent {intent.number})"
        why = f"nobody can say whether {what} was executed: look at the terminal"
        trade = replace(watch.trade, needs_attention=why, reduce_only=True)
        fact = self._desk.journal.fact(
            FactKind.NEEDS_ATTENTION, why, trade=trade, details={"intent": intent.number, "alert": "CRITICAL"}
        )
        await self._desk.store.commit(Unit(trades=(trade,), intents=(waiting,), facts=(fact,)))
        watch.trade = trade
        watch.open_intents[intent.number] = waiting

    # --- surplus ---------------------------------------------------------------------------------------------------

    def is_settled(self, watch: Watch) -> bool:
        """Answer whether nothing of a trade that ended can still show up or be left at the broker."""
        waiting = (i for i in watch.open_intents.values() if i.state is not IntentState.NEEDS_HUMAN)
        return not watch.trade.members and next(waiting, None) is None

    def surplus(self, trade: Trade) -> tuple[Member, ...]:
        """Return hedges that stand beside a trade whose state wants none, and what came too late to be wanted."""
        watch = self._book.watches.get(trade.ticket)
        late = watch.surplus if watch is not None else set()
        hedged = trade.machine.state is State.HEDGED
        return tuple(m for m in trade.members if m.ticket in late or (m.role is Role.HEDGE and not hedged))


def is_as_known(trade: Trade, positions: Mapping[int, Position]) -> bool:
    """Answer, quickly, whether the broker has the family exactly as the trade remembers it."""
    position = positions.get(trade.ticket)
    if position is None:
        if trade.volume > ZERO:
            return False
    elif (
        position.volume != trade.volume
        or position.stop != trade.stop
        or position.target != trade.target
        or trade.unconfirmed
    ):
        return False
    return all(_member_as_known(m, positions) for m in trade.members)


def _member_as_known(member: Member, positions: Mapping[int, Position]) -> bool:
    position = positions.get(member.ticket)
    return position is not None and position.volume == member.volume and position.stop == member.stop

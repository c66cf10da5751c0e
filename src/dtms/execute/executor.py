"""DTMS's requests to the broker: what is special about a trade's, around the one way in ``execute.carrying``.

An intent is known to its watch from before its commit until its outcome is committed, so whatever ends the work in
between (a failed store, a cancelled request) leaves it among the open ones, where it is looked for. Beside an open
request that changes exposure no other one is sent, whoever's it is; nor is one like a request that was lately found not
executed, for ``quarantine_s`` after that was sent: a terminal may still carry it out later than any terminal should.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dtms.decide import settle
from dtms.decide.recovery import is_fully_told
from dtms.domain.account import MarginMode
from dtms.domain.actions import Action, ClosePosition, Ending, Intent, IntentState, Outcome, Serves
from dtms.domain.facts import Fact
from dtms.domain.market import Instrument, Tick
from dtms.domain.owners import Asker, lease_key
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, State, Trade
from dtms.execute.answers import POSITION_CLOSED
from dtms.execute.book import Watch
from dtms.execute.carrying import Carrier, Done, Task, Unsent
from dtms.execute.journal import Journal
from dtms.execute.shown import identifier_of, is_shown, settled
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store, Unit
from dtms.settings import IntentSettings

After = Callable[[Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What follows from a done action, committed with it: the trade after the transition, and the facts that tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One action to be carried out for a watched trade; the caller holds its lock."""

    watch: Watch
    action: Action
    serves: Serves | None
    tick: Tick
    instrument: Instrument
    margin_mode: MarginMode
    after: After | None = None
    despite_halt: bool = False
    correlation_id: str | None = None
    strange: frozenset[int] = frozenset()
    """Numbers of intents whose positions the broker lists, and the family does not know."""
    beside: tuple[Position, ...] = ()
    """The family as sizing saw it, where its lots decide how much the action adds."""


@dataclass(slots=True)
class _Course:
    """What one order came to, to be believed once it is committed."""

    order: Order
    trade: Trade | None = None
    facts: Sequence[Fact] = ()


class Executor:
    """Carries actions out for watched trades; ``mode`` is the configured one."""

    def __init__(
        self, *, broker: Broker, store: Store, clock: Clock, carrier: Carrier, journal: Journal, mode: Mode
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._carrier = carrier
        self._journal = journal
        self._mode = mode

    @property
    def settings(self) -> IntentSettings:
        return self._carrier.settings

    @settings.setter
    def settings(self, settings: IntentSettings) -> None:
        self._carrier.settings = settings

    @property
    def requests(self) -> int:
        """Requests sent since the caller last took the count."""
        return self._carrier.requests

    @requests.setter
    def requests(self, count: int) -> None:
        self._carrier.requests = count

    def is_ours(self, intent: Intent) -> bool:
        """Answer whether this process made an intent, and so read the clock for it."""
        return self._carrier.made(intent.number)

    async def run(self, order: Order) -> Outcome:
        """Carry one action out and believe what was committed of it.

        Never raises for what the broker answers or leaves unanswered.

        Raises:
            PermissionGone: when this process may write nothing any more.
            StoreFailed: when the intent or its outcome could not be kept; the intent stays known as open.
        """
        course = _Course(order)
        outcome = await self._carrier.carry(self._task(course))
        if course.trade is not None:
            order.watch.trade = course.trade
            self._journal.tell(course.facts)
        return outcome

    def _task(self, course: _Course) -> Task:
        order, watch = course.order, course.order.watch
        trade = watch.trade

        def note(intent: Intent) -> None:
            if intent.state.is_open:
                watch.open_intents[intent.number] = intent
            else:
                watch.open_intents.pop(intent.number, None)

        def forget(intent: Intent) -> None:
            watch.open_intents.pop(intent.number, None)

        return Task(
            asker=Asker.DTMS,
            ticket=trade.ticket,
            key=lease_key(trade.ticket, trade.symbol, order.margin_mode),
            action=order.action,
            tick=order.tick,
            instrument=order.instrument,
            is_shown=lambda intent, seen: is_shown(watch.trade, intent, seen, order.instrument, self._broker.number_in),
            conclude=lambda done: self._conclude(course, done),
            begin=Unit(trades=(trade,)),
            ready=lambda: self._require_sole(order),
            note=note,
            forget=forget,
            is_told=lambda intent: self._is_told(order, intent),
            beside=order.beside,
            states=frozenset({trade.machine.state}),
            serves=order.serves,
            to_state=_began(trade, order.action),
            despite_halt=order.despite_halt,
            mode=self._mode,
            correlation_id=order.correlation_id,
        )

    # --- before --------------------------------------------------------------------------------------------------

    async def _require_sole(self, order: Order) -> None:
        """See to it, by the store, that no other request that changes exposure is open, or was just given up.

        Raises:
            Unsent: with what stands in the way.
        """
        kind, watch = order.action.kind, order.watch
        if not kind.changes_exposure:
            return
        stored = [i for i in await self._store.intents(ticket=watch.ticket) if i.action.kind.changes_exposure]
        for intent in stored:
            if intent.state.is_open and intent.asker is Asker.DTMS:
                watch.open_intents.setdefault(intent.number, intent)
        others = [i for i in stored if i.state.is_open and i.asker is not Asker.DTMS]
        known = [i for i in watch.open_intents.values() if i.action.kind.changes_exposure]
        if unresolved := next(iter((*known, *others)), None):
            told = f"{unresolved.action.kind.value} (intent {unresolved.number})"
            raise Unsent(f"nobody can say yet whether {told} was executed")
        for intent in stored:
            if intent.number in order.strange:
                watch.next_fast_ms = 0
                raise Unsent(f"what intent {intent.number} opened has shown up, and is to be taken in first")
            if intent.action.kind is kind and intent.state is IntentState.NOT_EXECUTED and self._is_recent(intent):
                raise Unsent(f"intent {intent.number} was not executed, and could still be for a while")

    def _is_recent(self, intent: Intent) -> bool:
        age_ms = self._clock.market_ms() - (intent.sent_ms or intent.created_ms)
        return 0 <= age_ms < self.settings.quarantine_s * 1000

    # --- after ---------------------------------------------------------------------------------------------------

    async def _is_told(self, order: Order, intent: Intent) -> bool:
        """A position that is said to be closed already must have the deals that closed it."""
        if intent.retcode != POSITION_CLOSED or not isinstance(order.action, ClosePosition):
            return True
        identifier = identifier_of(order.watch.trade, order.action.position)
        return is_fully_told(await self._broker.deals(position=identifier))

    def _conclude(self, course: _Course, done: Done) -> Unit:
        """Work out the trade after what happened, and what is told of it."""
        trade, facts = self._concluded(course.order, done.intent, done.outcome, done.seen)
        course.trade, course.facts = trade, facts
        return Unit(trades=(trade,), facts=facts)

    def _concluded(
        self, order: Order, intent: Intent, outcome: Outcome, seen: Snapshot | None
    ) -> tuple[Trade, list[Fact]]:
        trade, kind = order.watch.trade, order.action.kind
        if outcome.ending is Ending.UNKNOWN and kind.changes_exposure:
            trade = replace(trade, reduce_only=True)
        if seen is not None:
            trade = settled(trade, intent, seen, self._broker.number_in)
            trade = settle.acted(trade, kind, self._clock.market_ms())
        facts: list[Fact] = [self._journal.action(trade, intent, outcome)]
        if seen is not None and order.after is not None:
            trade, more = order.after(trade, outcome)
            facts += more
        return trade, facts


def _began(trade: Trade, action: Action) -> State | None:
    """What DTMS opened is its own to close, whoever owns the trade: the state in which it was opened permits that."""
    if isinstance(action, ClosePosition) and any(m.ticket == action.position for m in trade.members):
        return State.HEDGED
    return None

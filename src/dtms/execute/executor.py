"""The only caller of the broker's trade functions: one committed intent per request, one ticket at a time.

```
permission and intent committed → sent → answer classed → read back → outcome, trade and facts committed
```

What is not known stays UNKNOWN: nothing here sends a request twice. An intent is known to its watch from before its
commit until its outcome is committed, so whatever ends the work in between (a failed store, a cancelled request) leaves
it among the open ones, where it is looked for. Beside an open request that changes exposure no other one is sent; nor
is one like a request that was lately found not executed, for ``quarantine_s`` after that was sent: a terminal may
still carry it out later than any terminal should.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dtms.decide import settle
from dtms.decide.recovery import is_fully_told
from dtms.domain.actions import Action, ClosePosition, Ending, Intent, IntentState, Outcome, Serves
from dtms.domain.errors import BrokerUnavailable, PermissionGone
from dtms.domain.facts import Fact
from dtms.domain.market import Instrument, Tick
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Owner, Trade
from dtms.execute.answers import POSITION_CLOSED, outcome_of
from dtms.execute.authority import ENGINE, EngineLease
from dtms.execute.book import Watch
from dtms.execute.journal import Journal
from dtms.execute.shown import identifier_of, is_shown, settled
from dtms.ports.broker import Broker, SendResult
from dtms.ports.clock import Clock
from dtms.ports.store import Lease, Permission, Store, Unit
from dtms.settings import IntentSettings

NUMBERS_AT_ONCE = 64
FENCE_REFUSALS = frozenset({"GATEWAY_FENCED", "GATEWAY_OTHER_INSTANCE"})
"""After these the token has to be announced anew."""

After = Callable[[Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What follows from a done action, committed with it: the trade after the transition, and the facts that tell it."""


class Unsent(Exception):
    """Why a request may not be sent now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One action to be carried out for a watched trade; the caller holds its lock."""

    watch: Watch
    action: Action
    serves: Serves | None
    tick: Tick
    instrument: Instrument
    after: After | None = None
    despite_halt: bool = False
    correlation_id: str | None = None
    strange: frozenset[int] = frozenset()
    """Numbers of intents whose positions the broker lists, and the family does not know."""


class Executor:
    """Carries actions out under the engine's lease."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        lease: EngineLease,
        journal: Journal,
        settings: IntentSettings,
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._lease = lease
        self._journal = journal
        self.settings = settings
        self._numbers: list[int] = []
        self.requests = 0
        """Requests sent since the caller last took the count."""

    @property
    def token(self) -> int | None:
        """The fencing token under which this process sends; None while it may not."""
        return None if self._lease.lease is None else self._lease.lease.token

    async def run(self, order: Order) -> Outcome:
        """Carry one action out and believe what was committed of it.

        Never raises for what the broker answers or leaves unanswered.

        Raises:
            PermissionGone: when this process may write nothing any more.
            StoreFailed: when the intent or its outcome could not be kept; the intent stays known as open.
        """
        try:
            await self._require_sole(order)
            fence = await self._lease.fence()
            intent = await self._commit_intent(order)
        except (Unsent, BrokerUnavailable) as error:
            return Outcome(ending=Ending.FAILED, reason=str(error), wait=True)
        except PermissionGone as error:
            if not await self._lease.renew():
                raise
            return Outcome(ending=Ending.FAILED, reason=str(error), wait=True)
        self.requests += 1
        result = await self._broker.send(order.action, number=intent.number, fence=fence, tick=order.tick)
        if result.name in FENCE_REFUSALS:
            self._lease.forget_fence()
        sent = _answered(intent, result, self._clock.market_ms())
        order.watch.open_intents[intent.number] = sent
        return await self._confirm(order, sent, result)

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
            if intent.state.is_open:
                watch.open_intents.setdefault(intent.number, intent)
        if unresolved := next((i for i in watch.open_intents.values() if i.action.kind.changes_exposure), None):
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

    async def _commit_intent(self, order: Order) -> Intent:
        lease, watch = self._lease.lease, order.watch
        if lease is None:
            raise PermissionGone("the engine's lease is not held")
        intent = Intent(
            number=await self._next_number(),
            ticket=watch.ticket,
            action=order.action,
            serves=order.serves,
            state=IntentState.SENDING,
            token=lease.token,
            created_ms=self._clock.market_ms(),
            correlation_id=order.correlation_id,
        )
        watch.open_intents[intent.number] = intent  # before the commit: one that is cut off may be in the store
        try:
            await self._store.commit(
                Unit(trades=(watch.trade,), intents=(intent,), permission=_permission(order, lease))
            )
        except PermissionGone:
            watch.open_intents.pop(intent.number)
            raise
        return intent

    async def _next_number(self) -> int:
        if not self._numbers:
            self._numbers = list(await self._store.next_intent_numbers(NUMBERS_AT_ONCE))
        return self._numbers.pop(0)

    # --- after ---------------------------------------------------------------------------------------------------

    async def _confirm(self, order: Order, intent: Intent, result: SendResult) -> Outcome:
        """Read back what the broker says it did; what does not show up stays unknown."""
        watch, outcome = order.watch, outcome_of(result, order.action)
        snapshot: Snapshot | None = None
        if outcome.ending is Ending.DONE:
            snapshot = await self._read_back(order, intent)
            if snapshot is None:
                told = "accepted, but not to be seen at the broker yet"
                outcome = replace(outcome, ending=Ending.UNKNOWN, reason=told)
        trade, facts = self._concluded(order, intent, outcome, snapshot)
        intent = _concluded(intent, outcome, self._clock.market_ms())
        await self._store.commit(Unit(trades=(trade,), intents=(intent,), facts=facts))
        watch.trade = trade
        if intent.state.is_open:
            watch.open_intents[intent.number] = intent
        else:
            watch.open_intents.pop(intent.number, None)
        self._journal.tell(facts)
        return replace(outcome, intent=intent.number)

    def _concluded(
        self, order: Order, intent: Intent, outcome: Outcome, snapshot: Snapshot | None
    ) -> tuple[Trade, list[Fact]]:
        """Return the trade after what happened, and what is told of it."""
        trade, kind = order.watch.trade, order.action.kind
        if outcome.ending is Ending.UNKNOWN and kind.changes_exposure:
            trade = replace(trade, reduce_only=True)
        if snapshot is not None:
            trade = settled(trade, intent, snapshot, self._broker.number_in)
            trade = settle.acted(trade, kind, self._clock.market_ms())
        facts: list[Fact] = [self._journal.action(trade, intent, outcome)]
        if snapshot is not None and order.after is not None:
            trade, more = order.after(trade, outcome)
            facts += more
        return trade, facts

    async def _read_back(self, order: Order, intent: Intent) -> Snapshot | None:
        """Look until what was done is to be seen; None when it is not."""
        for attempt in range(self.settings.read_back_tries):
            if attempt:
                await self._clock.sleep_machine(self.settings.read_back_wait_s)
            try:
                snapshot = await self._broker.snapshot([order.watch.trade.symbol])
                shown = is_shown(order.watch.trade, intent, snapshot, order.instrument, self._broker.number_in)
                if shown and await self._is_told(order, intent):
                    return snapshot
            except BrokerUnavailable:
                continue
        return None

    async def _is_told(self, order: Order, intent: Intent) -> bool:
        """A position that is said to be closed already must have the deals that closed it."""
        if intent.retcode != POSITION_CLOSED or not isinstance(order.action, ClosePosition):
            return True
        identifier = identifier_of(order.watch.trade, order.action.position)
        return is_fully_told(await self._broker.deals(position=identifier))


def _permission(order: Order, lease: Lease) -> Permission:
    trade = order.watch.trade
    return Permission(
        key=ENGINE,
        holder=lease.holder,
        token=lease.token,
        ticket=trade.ticket,
        states=frozenset({trade.machine.state}),
        despite_halt=order.despite_halt,
        owners=None if trade.alongside else frozenset({Owner.DTMS}),
    )


_STATE_OF = {
    Ending.DONE: IntentState.CONFIRMED,
    Ending.NOT_POSSIBLE: IntentState.REFUSED,
    Ending.FAILED: IntentState.REFUSED,
    Ending.UNKNOWN: IntentState.UNKNOWN,
}


def _answered(intent: Intent, result: SendResult, now_ms: int) -> Intent:
    """Return the intent with what the broker answered; its outcome is not concluded yet."""
    return replace(
        intent,
        sent_ms=now_ms,
        retcode=result.retcode,
        message=result.message,
        order=result.order,
        deal=result.deal,
        filled=result.volume,
        price=result.price,
    )


def _concluded(intent: Intent, outcome: Outcome, now_ms: int) -> Intent:
    state = _STATE_OF[outcome.ending]
    resolved_ms = None if state.is_open else now_ms
    return replace(intent, state=state, resolved_ms=resolved_ms, message=outcome.reason or intent.message)

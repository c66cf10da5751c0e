"""The only caller of the broker's trade functions: one committed intent per request, one ticket at a time.

```
permission and intent committed → sent → answer classed → read back → outcome, trade and facts committed
```

What is not known stays UNKNOWN: nothing here sends a request twice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.decide import settle
from dtms.domain.actions import (
    Action,
    ClosePosition,
    Ending,
    Intent,
    IntentState,
    MoveStop,
    OpenPosition,
    Outcome,
    Serves,
)
from dtms.domain.errors import BrokerUnavailable, PermissionGone
from dtms.domain.facts import Fact
from dtms.domain.market import Instrument, Tick
from dtms.domain.position import Position
from dtms.domain.prices import ZERO, same_price
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade
from dtms.execute.authority import ENGINE, EngineLease
from dtms.execute.journal import Journal
from dtms.ports.broker import Answer, Broker, SendResult
from dtms.ports.clock import Clock
from dtms.ports.store import Permission, Store, Unit
from dtms.settings import IntentSettings

POSITION_CLOSED = 10036
NUMBERS_AT_ONCE = 64
FENCE_REFUSALS = frozenset({"GATEWAY_FENCED", "GATEWAY_OTHER_INSTANCE"})
"""After these the token has to be announced anew."""

After = Callable[[Trade, Outcome], tuple[Trade, Sequence[Fact]]]
"""What follows from a done action, committed with it: the trade after the transition, and the facts that tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One action to be carried out for a trade."""

    trade: Trade
    action: Action
    serves: Serves | None
    tick: Tick
    instrument: Instrument
    after: After | None = None
    despite_halt: bool = False
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """How it ended, the trade as committed, and the newest look at the broker."""

    outcome: Outcome
    trade: Trade
    intent: Intent | None
    """As committed; None when nothing was sent."""


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

    async def run(self, order: Order) -> Executed:
        """Carry one action out; never raises for what the broker answers or leaves unanswered."""
        try:
            fence = await self._lease.fence()
            intent = await self._commit_intent(order)
        except (PermissionGone, BrokerUnavailable) as error:
            outcome = Outcome(ending=Ending.FAILED, reason=str(error), wait=True)
            return Executed(outcome=outcome, trade=order.trade, intent=None)
        self.requests += 1
        result = await self._broker.send(order.action, number=intent.number, fence=fence, tick=order.tick)
        if result.name in FENCE_REFUSALS:
            self._lease.forget_fence()
        outcome = outcome_of(result, order.action)
        return await self._confirm(order, replace(intent, sent_ms=self._clock.market_ms()), result, outcome)

    async def _commit_intent(self, order: Order) -> Intent:
        lease = self._lease.lease
        if lease is None:
            raise PermissionGone("the engine's lease is not held")
        intent = Intent(
            number=await self._next_number(),
            ticket=order.trade.ticket,
            action=order.action,
            serves=order.serves,
            state=IntentState.SENDING,
            token=lease.token,
            created_ms=self._clock.market_ms(),
            correlation_id=order.correlation_id,
        )
        permission = Permission(
            key=ENGINE,
            holder=lease.holder,
            token=lease.token,
            ticket=order.trade.ticket,
            states=frozenset({order.trade.machine.state}),
            despite_halt=order.despite_halt,
        )
        await self._store.commit(Unit(intents=(intent,), permission=permission))
        return intent

    async def _next_number(self) -> int:
        if not self._numbers:
            self._numbers = list(await self._store.next_intent_numbers(NUMBERS_AT_ONCE))
        return self._numbers.pop(0)

    async def _confirm(self, order: Order, intent: Intent, result: SendResult, outcome: Outcome) -> Executed:
        """Read back what the broker says it did; what does not show up stays unknown."""
        snapshot: Snapshot | None = None
        if outcome.ending is Ending.DONE:
            snapshot, shown = await self._read_back(order, intent)
            if not shown:
                outcome = replace(
                    outcome, ending=Ending.UNKNOWN, reason="accepted, but not to be seen at the broker yet"
                )
        trade = self._settled(order, intent, outcome, snapshot)
        facts: list[Fact] = [self._journal.action(trade, intent, outcome)]
        if outcome.ending is Ending.DONE and order.after is not None:
            trade, more = order.after(trade, outcome)
            facts += more
        if outcome.ending is Ending.UNKNOWN and order.action.kind.changes_exposure:
            trade = replace(trade, reduce_only=True)
        intent = _resolved(intent, result, outcome, self._clock)
        await self._store.commit(Unit(trades=(trade,), intents=(intent,), facts=facts))
        self._journal.tell(facts)
        return Executed(outcome=replace(outcome, intent=intent.number), trade=trade, intent=intent)

    async def _read_back(self, order: Order, intent: Intent) -> tuple[Snapshot | None, bool]:
        snapshot = None
        for attempt in range(self.settings.read_back_tries):
            if attempt:
                await self._clock.sleep_machine(self.settings.read_back_wait_s)
            try:
                snapshot = await self._broker.snapshot([order.trade.symbol])
            except BrokerUnavailable:
                continue
            if is_shown(order.action, snapshot, self._broker.magic_of(intent.number), order.instrument):
                return snapshot, True
        return snapshot, False

    def _settled(self, order: Order, intent: Intent, outcome: Outcome, snapshot: Snapshot | None) -> Trade:
        if outcome.ending is not Ending.DONE or snapshot is None:
            return order.trade
        magic = self._broker.magic_of(intent.number)
        return settled(order.trade, intent, snapshot.positions.values(), magic)


def settled(trade: Trade, intent: Intent, positions: Iterable[Position], magic: int) -> Trade:
    """Return the trade after an executed intent, by what the broker now shows."""
    action = intent.action
    match action:
        case MoveStop():
            return settle.stop_moved(trade, action)
        case ClosePosition():
            left = next((p.volume for p in positions if p.ticket == action.position), ZERO)
            return settle.closed(trade, action, action.expected_volume - left)
        case OpenPosition():
            return settle.opened(trade, intent, [p for p in positions if p.magic == magic])


def is_shown(action: Action, snapshot: Snapshot, magic: int, instrument: Instrument) -> bool:
    """Answer whether the broker shows what was asked for."""
    match action:
        case MoveStop():
            position = snapshot.positions.get(action.position)
            return position is not None and same_price(position.stop, action.stop, instrument)
        case ClosePosition():
            position = snapshot.positions.get(action.position)
            if position is None:  # what must be left of a part has to be seen: a list without it is no evidence
                return action.volume >= action.expected_volume
            return position.volume < action.expected_volume
        case OpenPosition():
            return any(p.magic == magic for p in snapshot.positions.values())


def outcome_of(result: SendResult, action: Action) -> Outcome:
    """Class a broker's answer into one of the four endings."""
    told = f"{result.retcode} {result.name}" + (f": {result.message}" if result.message else "")
    if result.retcode == POSITION_CLOSED and isinstance(action, ClosePosition):
        return _outcome(result, Ending.DONE, "closed already", action)
    match result.answer:
        case Answer.OK | Answer.NOOP:
            return _outcome(result, Ending.DONE, "", action)
        case Answer.POLICY:
            return _outcome(result, Ending.NOT_POSSIBLE, told, action)
        case Answer.AMBIG:
            return _outcome(result, Ending.UNKNOWN, told, action)
        case Answer.WAIT:
            return replace(_outcome(result, Ending.FAILED, told, action), wait=True)
        case Answer.PRICE:
            return replace(_outcome(result, Ending.FAILED, told, action), again=2)
        case Answer.FIX:
            return replace(_outcome(result, Ending.FAILED, told, action), again=1)
        case Answer.STATE:
            return replace(_outcome(result, Ending.FAILED, told, action), again=0 if action.kind.adds_risk else 1)


def _outcome(result: SendResult, ending: Ending, reason: str, action: Action) -> Outcome:
    position = action.position if not isinstance(action, OpenPosition) else result.order
    volume: Decimal | None = result.volume
    return Outcome(
        ending=ending, reason=reason, retcode=result.retcode, price=result.price, volume=volume, position=position
    )


_STATE_OF = {
    Ending.DONE: IntentState.CONFIRMED,
    Ending.NOT_POSSIBLE: IntentState.REFUSED,
    Ending.FAILED: IntentState.REFUSED,
    Ending.UNKNOWN: IntentState.UNKNOWN,
}


def _resolved(intent: Intent, result: SendResult, outcome: Outcome, clock: Clock) -> Intent:
    state = _STATE_OF[outcome.ending]
    return replace(
        intent,
        state=state,
        resolved_ms=None if state.is_open else clock.market_ms(),
        retcode=result.retcode,
        message=outcome.reason or result.message,
        order=result.order,
        deal=result.deal,
        filled=result.volume,
        price=result.price,
    )

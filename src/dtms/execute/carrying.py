"""The one way to the broker: a committed intent per request, under the lease of what it changes.

```
lease granted, with what is true of the ticket → authority → token announced → position read again
  → permission and intent committed → sent → answer classed → read back → outcome committed, lease given back
```

What is not known stays UNKNOWN: nothing here sends a request twice. The manager that wants an action says what is
committed with its intent and with its outcome; all else is the same for every manager.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.decide.authority import judge
from dtms.domain.actions import (
    Action,
    CancelOrder,
    ClosePosition,
    Ending,
    Intent,
    IntentState,
    MoveStop,
    OpenPosition,
    Outcome,
    PlaceOrder,
    Serves,
    SetLevels,
)
from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone
from dtms.domain.market import Instrument, Tick
from dtms.domain.owners import Asker, Standing
from dtms.domain.position import Position
from dtms.domain.prices import same_price
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, State
from dtms.execute.answers import outcome_of
from dtms.execute.authority import EngineLease
from dtms.execute.leases import Held, Leases
from dtms.ports.broker import Broker, Fence, SendResult
from dtms.ports.clock import Clock
from dtms.ports.store import Lease, Permission, Store, Unit
from dtms.settings import IntentSettings

NUMBERS_AT_ONCE = 64
FENCE_REFUSALS = frozenset({"GATEWAY_FENCED", "GATEWAY_OTHER_INSTANCE"})
"""After these the tokens have to be announced anew."""
AGAIN = 2
"""How often an action may be decided anew at once, after what it was decided on changed meanwhile."""

LEASE_HELD = "lease_held"
STOP_CHANGED = "stop_changed_meanwhile"
VOLUME_CHANGED = "volume_changed_meanwhile"
NOT_LISTED = "position_not_listed"
MEANWHILE = frozenset({LEASE_HELD, STOP_CHANGED, VOLUME_CHANGED})
"""What somebody else did meanwhile, or is doing: over in a moment."""


class Unsent(Exception):
    """Why a request may not be sent now, and by which rule."""

    def __init__(self, reason: str, rule: str | None = None, *, again: int = 0) -> None:
        super().__init__(reason)
        self.rule = rule
        self.again = again


NOTHING = Unit()


async def _ready() -> None:
    """Be ready: nothing else is to be seen to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a request ended; ``seen`` shows what it did, None when nothing was done or to be seen."""

    intent: Intent
    outcome: Outcome
    seen: Snapshot | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One action that somebody wants to be done."""

    asker: Asker
    ticket: int | None
    """What it changes; None when it opens a trade of its own."""
    key: str
    """Of the lease; ``domain.owners`` says which."""
    action: Action
    tick: Tick
    instrument: Instrument
    is_shown: Callable[[Intent, Snapshot], bool]
    """Whether a look at the broker shows what was done."""
    conclude: Callable[[Done], Unit]
    """What is committed with the outcome, beside the intent itself."""
    begin: Unit = NOTHING
    """What is committed with the intent."""
    ready: Callable[[], Awaitable[None]] = _ready
    """Asked under the lease, before anything is committed; raises ``Unsent``."""
    note: Callable[[Intent], None] = lambda _: None
    """Told of the intent before it is committed, and of its answer, so that a cut-off one is known to be open."""
    forget: Callable[[Intent], None] = lambda _: None
    """Told that the intent was not committed after all."""
    is_told: Callable[[Intent], Awaitable[bool]] | None = None
    """Asked once it is shown: whether all that proves it is there."""
    beside: tuple[Position, ...] = ()
    """Other positions that it was sized on: their lots must still be the same."""
    under: Lease | None = None
    """Another program's lease, which this is done under, in its place."""
    states: frozenset[State] | None = None
    serves: Serves | None = None
    to_state: State | None = None
    """Where DTMS moves to with it, or in which state it began what this ends."""
    despite_halt: bool = False
    mode: Mode | None = None
    """The configured mode, where one binds the asker; None for a person's or program's request."""
    number: int | None = None
    """The intent's number, when it was reserved before."""
    plan: str | None = None
    strategy_type: str | None = None
    correlation_id: str | None = None


class Carrier:
    """Carries tasks out. ``program`` is the lease that this program holds for its whole life."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        leases: Leases,
        program: EngineLease,
        settings: IntentSettings,
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._leases = leases
        self._program = program
        self.settings = settings
        self._numbers: list[int] = []
        self._made: set[int] = set()
        self._in_hand: set[int] = set()
        self.requests = 0
        """Requests sent since the caller last took the count."""

    async def next_number(self) -> int:
        """Reserve an intent's number: never given twice, whatever crashes."""
        if not self._numbers:
            self._numbers = list(await self._store.next_intent_numbers(NUMBERS_AT_ONCE))
        return self._numbers.pop(0)

    def made(self, number: int) -> bool:
        """Answer whether the intent of this number was made here: its times are readings of this process's clock."""
        return number in self._made

    def has_in_hand(self, number: int) -> bool:
        """Answer whether somebody here is carrying out the intent of this number: what comes of it is still written."""
        return number in self._in_hand

    async def carry(self, task: Task) -> Outcome:
        """Carry one action out and commit what it came to.

        Never raises for what the broker answers or leaves unanswered.

        Raises:
            PermissionGone: when this program may write nothing any more.
            StoreFailed: when the intent or its outcome could not be kept; the intent stays known as open.
        """
        try:
            if task.under is not None:
                standing = await self._store.standing(task.ticket) if task.ticket else Standing(ticket=0)
                return await self._under(task, Held(task.under, standing, is_ours=False, is_given_back=True))
            async with self._leases.held(task.key, task.ticket) as held:
                return await self._under(task, held)
        except LeaseHeld as error:
            return Outcome(ending=Ending.FAILED, reason=str(error), rule=LEASE_HELD, wait=True)

    async def _under(self, task: Task, held: Held) -> Outcome:
        """Carry it out under a lease; one that is cut off is in nobody's hand, and can be looked for."""
        try:
            return await self._sent(task, held)
        finally:
            if held.intent is not None:
                self._in_hand.discard(held.intent)

    async def _sent(self, task: Task, held: Held) -> Outcome:
        try:
            _require_authority(task, held.standing)
            fence = await self._fence(held)
            await self._require_same(task)
            await task.ready()
            intent = await self._commit_intent(task, held)
        except Unsent as error:
            return Outcome(ending=Ending.FAILED, reason=str(error), rule=error.rule, wait=True, again=error.again)
        except BrokerUnavailable as error:
            return Outcome(ending=Ending.FAILED, reason=str(error), wait=True)
        except LeaseHeld:
            raise
        except PermissionGone as error:
            if not await self._program.renew():
                raise
            return Outcome(ending=Ending.FAILED, reason=str(error), rule="permission_gone", wait=True)
        self.requests += 1
        result = await self._broker.send(task.action, number=intent.number, fence=fence, tick=task.tick)
        if result.name in FENCE_REFUSALS:
            self._program.forget_fence()
        sent = _answered(intent, result, self._clock.market_ms())
        task.note(sent)
        return await self._confirm(task, held, sent, result)

    # --- before --------------------------------------------------------------------------------------------------

    async def _fence(self, held: Held) -> Fence:
        """Announce both tokens: this lease's, and where it is not known yet the program's."""
        program = await self._program.fence()
        fence = await self._leases.announce(held)
        if fence.instance != program.instance:
            self._program.forget_fence()
            program = await self._program.fence()
        return replace(fence, program=(program.key, program.token))

    async def _require_same(self, task: Task) -> None:
        """Read what the action changes again, under the lease, and compare it with what it was decided on.

        Raises:
            Unsent: when it changed meanwhile; the reason tells both.
        """
        expected = {p.ticket: p.volume for p in task.beside}
        position = _changed_by(task.action)
        asked = list(dict.fromkeys((*expected, *([position] if position is not None else ()))))
        if not asked:
            return
        found = await self._broker.positions(asked)
        if missing := next((ticket for ticket in asked if ticket not in found), None):
            raise Unsent(f"the broker does not list position {missing}", NOT_LISTED)
        if position is not None:
            _require_unchanged(task, found[position])
        for ticket, volume in expected.items():
            if found[ticket].volume != volume:
                raise _differs(ticket, volume, found[ticket].volume)

    async def _commit_intent(self, task: Task, held: Held) -> Intent:
        intent = Intent(
            number=task.number or await self.next_number(),
            ticket=task.ticket or 0,
            action=task.action,
            serves=task.serves,
            state=IntentState.SENDING,
            token=held.lease.token,
            created_ms=self._clock.market_ms(),
            correlation_id=task.correlation_id,
            asker=task.asker,
            plan=task.plan,
            strategy_type=task.strategy_type,
        )
        self._made.add(intent.number)
        self._in_hand.add(intent.number)
        held.intent = intent.number
        task.note(intent)  # before the commit: one that is cut off may be in the store
        unit = replace(task.begin, intents=(*task.begin.intents, intent), permission=_permission(task, held.lease))
        try:
            await self._store.commit(unit)
        except PermissionGone:
            task.forget(intent)
            raise
        return intent

    # --- after ---------------------------------------------------------------------------------------------------

    async def _confirm(self, task: Task, held: Held, intent: Intent, result: SendResult) -> Outcome:
        """Read back what the broker says it did; what does not show up stays unknown."""
        outcome = outcome_of(result, task.action)
        seen: Snapshot | None = None
        if outcome.ending is Ending.DONE:
            seen = await self._read_back(task, intent)
            if seen is None:
                told = "accepted, but not to be seen at the broker yet"
                outcome = replace(outcome, ending=Ending.UNKNOWN, reason=told)
        intent = _concluded(intent, outcome, self._clock.market_ms())
        unit = task.conclude(Done(intent=intent, outcome=replace(outcome, intent=intent.number), seen=seen))
        release = held.lease if held.is_ours else None
        await self._store.commit(replace(unit, intents=(*unit.intents, intent), release=release))
        held.is_given_back = True
        task.note(intent)
        return replace(outcome, intent=intent.number)

    async def _read_back(self, task: Task, intent: Intent) -> Snapshot | None:
        """Look until what was done is to be seen; None when it is not."""
        for attempt in range(self.settings.read_back_tries):
            if attempt:
                await self._clock.sleep_machine(self.settings.read_back_wait_s)
            try:
                snapshot = await self._broker.snapshot([task.action.symbol])
                if task.is_shown(intent, snapshot) and (task.is_told is None or await task.is_told(intent)):
                    return snapshot
            except BrokerUnavailable:
                continue
        return None


def _require_authority(task: Task, standing: Standing) -> None:
    """Judge what was true when the lease was granted, before anybody is asked for more.

    Raises:
        Unsent: with the rule; the commit of the intent judges again.
    """
    if task.ticket is None:
        return
    denied = judge(standing, task.asker, states=task.states, to_state=_moving(task))
    if denied is not None:
        raise Unsent(denied.reason, denied.rule)


def _moving(task: Task) -> State | None:
    return task.to_state if task.serves is None else task.serves.to_state


def _permission(task: Task, lease: Lease) -> Permission:
    return Permission(
        key=lease.key,
        holder=lease.holder,
        token=lease.token,
        ticket=task.ticket,
        asker=task.asker,
        states=task.states,
        to_state=_moving(task),
        despite_halt=task.despite_halt,
        mode=task.mode,
    )


def _changed_by(action: Action) -> int | None:
    """Return the ticket of the position that an action changes."""
    match action:
        case MoveStop() | ClosePosition() | SetLevels():
            return action.position
        case OpenPosition() | PlaceOrder() | CancelOrder():
            return None


def _require_unchanged(task: Task, position: Position) -> None:
    action = task.action
    if isinstance(action, MoveStop | SetLevels):
        if not same_price(position.stop, action.expected_stop, task.instrument):
            told = f"the stop of position {position.ticket} is {position.stop}, not {action.expected_stop}, now"
            raise Unsent(told, STOP_CHANGED, again=AGAIN)
    elif isinstance(action, ClosePosition) and position.volume != action.expected_volume:
        raise _differs(position.ticket, action.expected_volume, position.volume)


def _differs(ticket: int, expected: Decimal, found: Decimal) -> Unsent:
    told = f"position {ticket} has {found} lots, not {expected}, now"
    return Unsent(told, VOLUME_CHANGED, again=AGAIN)


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

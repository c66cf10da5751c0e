"""What held of a ticket at a moment: its owner, DTMS's state of it, its breakeven flag, as the journal tells.

Two programs write one journal, each by its own clock, and a fact is made a moment before it is committed. So what held
at a moment is all that held within ``slack_ms`` of it, and an act is wrong only when none of that permitted it. What
the journal does not reach back to is not known, and not judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeAlias, TypeVar

from dtms.audit.spans import Span
from dtms.audit.world import World
from dtms.domain.actions import ActionKind, Intent, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.owners import Asker, Ownership
from dtms.domain.trade import Owner, State, Trade

LONG_AGO = -(10**15)
WATCHING = frozenset({FactKind.REGISTERED, FactKind.ENABLED, FactKind.TRANSITION, FactKind.DISABLED, FactKind.CLOSED})
OWNING = frozenset({FactKind.OWNER_CHANGED, FactKind.DISABLED, FactKind.MANAGED, FactKind.UNMANAGED, FactKind.ACTION})

T = TypeVar("T")


class Unknown(Enum):
    """What the journal does not tell."""

    UNKNOWN = auto()


UNKNOWN = Unknown.UNKNOWN
Known: TypeAlias = T | Unknown | None
"""A state, or a word of the registry, or that there is none; or that nobody knows."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """What holds from a moment on."""

    since_ms: int
    value: T


@dataclass(frozen=True, slots=True)
class Stood:
    """What was true of a ticket, as far as permission asks; ``owner`` is None for one that is unknown to us."""

    owner: Owner | None
    state: State | None
    breakeven: bool


class Standings:
    """What held of each ticket of a world, at any moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[int, Sequence[Turn[Known[State]]]] = {}
        self._words: dict[int, Sequence[Turn[Known[str]]]] = {}

    def around(self, ticket: int, at_ms: int) -> Sequence[Stood]:
        """Return all that held about a moment; nothing when that is not known."""
        slack_ms = self._world.slack_ms
        states = set(_about(self.states(ticket), at_ms, slack_ms))
        words = set(_about(self._owners(ticket), at_ms, slack_ms))
        if UNKNOWN in states or UNKNOWN in words:
            return ()
        flags = self._breakeven(ticket, at_ms)
        return [
            Stood(owner=self._owner(ticket, word, state), state=state, breakeven=flag)
            for word in words
            for state in states
            for flag in flags
            if not isinstance(word, Unknown) and not isinstance(state, Unknown)
        ]

    def defensive(self, ticket: int) -> Iterator[Span]:
        """Yield when DTMS defended a trade, from one defensive state to the next without an end in between."""
        since: int | None = None
        for turn in self.states(ticket):
            is_defensive = isinstance(turn.value, State) and turn.value.is_defensive
            if is_defensive and since is None:
                since = max(turn.since_ms, self._world.books.facts_since_ms)
            elif not is_defensive and since is not None:
                yield Span(since, turn.since_ms)
                since = None
        if since is not None:
            yield Span(since, self._world.now_ms)

    # --- DTMS's state ------------------------------------------------------------------------------------------------

    def states(self, ticket: int) -> Sequence[Turn[Known[State]]]:
        """Return DTMS's states of a ticket in turn; None while DTMS does not watch it."""
        if ticket not in self._states:
            facts = [f for f in self._world.facts_by_trade.get(ticket, ()) if f.kind in WATCHING]
            self._states[ticket] = [*_states(facts, self._world.trades.get(ticket))]
        return self._states[ticket]

    # --- owners ------------------------------------------------------------------------------------------------------

    def _owners(self, ticket: int) -> Sequence[Turn[Known[str]]]:
        if ticket not in self._words:
            facts = [f for f in self._world.facts_by_trade.get(ticket, ()) if f.kind in OWNING]
            self._words[ticket] = _owners(facts, self._world.entries.get(ticket))
        return self._words[ticket]

    def _owner(self, ticket: int, word: str | None, state: State | None) -> Owner | None:
        """Return the owner by the registry's word, None without an entry: what no manager owns is the watcher's."""
        trade = self._world.trades.get(ticket)
        if word is None:
            return trade.owner if trade is not None and state is not None else Owner.NOBODY
        if word not in _KNOWN:
            return None
        owner = Owner(word)
        return Owner.NOBODY if owner is Owner.DTMS and state is None else owner

    def _breakeven(self, ticket: int, at_ms: int) -> Sequence[bool]:
        """Return the flag: set for ever once, at a moment that the journal tells, or a manager's intent."""
        entry = self._world.entries.get(ticket)
        if entry is None or not entry.breakeven:
            return (False,)
        told = (f for f in self._world.facts_by_trade.get(ticket, ()) if f.details.get("breakeven") is True)
        flagged = [f.market_ms for f in told if f.kind is FactKind.OWNER_CHANGED]
        moved = [i.resolved_ms for i in self._world.intents_by_trade.get(ticket, ()) if _flags(i)]
        since = min([*flagged, *(at for at in moved if at is not None)], default=None)
        return (True,) if since is not None and at_ms > since + self._world.slack_ms else (False, True)


_KNOWN = frozenset(owner.value for owner in Owner)


def _about(turns: Sequence[Turn[T]], at_ms: int, slack_ms: int) -> Iterator[T]:
    """Yield what held at any moment within the slack."""
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        until_ms = following.since_ms if following is not None else at_ms + slack_ms + 1
        if turn.since_ms <= at_ms + slack_ms and until_ms >= at_ms - slack_ms:
            yield turn.value


def _states(facts: Sequence[Fact], trade: Trade | None) -> Iterator[Turn[Known[State]]]:
    now = trade.machine.state if trade is not None and trade.is_active else None
    if not facts:
        yield Turn(LONG_AGO, now)
        return
    yield Turn(LONG_AGO, _before(facts[0]))
    for fact, following in zip(facts, [*facts[1:], None], strict=True):
        yield Turn(fact.market_ms, _after(fact, following, now))


def _before(fact: Fact) -> Known[State]:
    """Return what held before the first fact that is known."""
    match fact.kind:
        case FactKind.TRANSITION:
            return State(str(fact.details["from"]))
        case FactKind.REGISTERED | FactKind.ENABLED:
            return None
        case _:
            return UNKNOWN


def _after(fact: Fact, following: Fact | None, now: State | None) -> Known[State]:
    match fact.kind:
        case FactKind.TRANSITION:
            to = State(str(fact.details["to"]))
            return None if to is State.CLOSED else to
        case FactKind.REGISTERED:
            return State.HEALTHY
        case FactKind.ENABLED:  # goes on in the state that it was left in
            return now if following is None else _before(following)
        case _:
            return None


def _owners(facts: Sequence[Fact], entry: Ownership | None) -> Sequence[Turn[Known[str]]]:
    """Return the registry's words in turn, None for no entry; the entry itself has the last one."""
    changes = sorted((change for fact in facts for change in _changes(fact)), key=lambda change: change[0])
    if entry is None and not changes:
        return [Turn(LONG_AGO, None)]
    begun: Known[str] = changes[0][1] if changes else UNKNOWN
    turns: list[Turn[Known[str]]] = [Turn(LONG_AGO, begun)]
    turns += [Turn(at_ms, after) for at_ms, _, after in changes]
    if entry is None:
        return turns
    return [*(turn for turn in turns if turn.since_ms < entry.since_ms), Turn(entry.since_ms, entry.owner)]


Change = tuple[int, Known[str], Known[str]]
"""When, the owner before, and the owner from then on."""


def _changes(fact: Fact) -> Iterator[Change]:
    """Yield the change of owner that a fact tells of, in each program's way of telling."""
    told, at_ms = fact.details, fact.market_ms
    match fact.kind:
        case FactKind.OWNER_CHANGED if "breakeven" in told:
            yield at_ms, str(told["owner"]), str(told["owner"])
        case FactKind.OWNER_CHANGED if "to" in told:
            if told["to"] != Owner.DTMS.value:  # DTMS becomes the owner when it takes the position, and tells so
                yield at_ms, _word(told["from"]), str(told["to"])
        case FactKind.OWNER_CHANGED if "before" in told:
            yield at_ms, _word(told["before"]), str(told["owner"])
        case FactKind.OWNER_CHANGED | FactKind.DISABLED if isinstance(since := told.get("since"), int):
            yield since, UNKNOWN, str(told["owner"])
        case FactKind.MANAGED if told.get("manager") == Owner.UNIVERSAL.value:
            yield at_ms, _word(told.get("owner_before")), Owner.UNIVERSAL.value
        case FactKind.UNMANAGED if told.get("manager") == Owner.UNIVERSAL.value and fact.summary == "unregistered":
            yield at_ms, Owner.UNIVERSAL.value, Owner.NOBODY.value
        case FactKind.ACTION if told.get("asker") == Asker.EXECUTION.value and told.get("strategy_type"):
            yield at_ms, None, Owner.UNIVERSAL.value
        case _:
            return


def _word(told: object) -> str | None:
    """Read the owner before: what no manager owned had no entry that says otherwise."""
    return None if told in (None, "", Owner.DTMS.value) else str(told)


def _flags(intent: Intent) -> bool:
    is_managers = intent.asker in (Asker.UNIVERSAL, Asker.EXITS)
    return is_managers and intent.action.kind is ActionKind.BREAKEVEN and intent.state is IntentState.CONFIRMED

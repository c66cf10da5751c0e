"""What dtms asks of its store. A commit that returned is durable; a unit is applied whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Asker, Ownership, Standing
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Mode, Owner, State, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was scored for one symbol, side and bar; stored once, found by its trades through symbol, side and time."""

    symbol: str
    direction: str
    bar_ms: int
    """Closing time of the newest bar used (UTC ms)."""
    score: float
    regime: str
    body: Mapping[str, Json] = field(default_factory=dict)
    """Readings, reasons and regime, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What a person has set, surviving restarts."""

    halted: bool = False
    halt_reason: str | None = None
    halted_ms: int | None = None
    mode: Mode | None = None
    """The account's mode; None follows the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A held lease; ``expires_s`` is on the machine's monotonic clock."""

    key: str
    holder: str
    token: int
    expires_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease of one ticket, and what was true of the ticket in the transaction that granted it."""

    lease: Lease
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Under which lease rows are written; a unit is refused when its holder lost it meanwhile."""

    key: str
    holder: str
    token: int


class KeptKind(StrEnum):
    """What small durable values there are beside trades, intents and facts."""

    ANSWER = "answer"
    """What was answered to a request with an idempotency key."""
    PENDING = "pending"
    """A registration that waits for the broker to list its position."""
    PROBE = "probe"
    """What was found out about a server and account."""
    EARLIER = "earlier"
    """A trade of an earlier system, which a recovery is to match with the broker once."""
    REGISTRATION = "registration"
    """A position on its way to the DTMS server."""
    WORK = "work"
    """What background work remembers: backups, archive, audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A small durable value by kind and key; times are UTC milliseconds of the machine's wall clock."""

    kind: KeptKind
    key: str
    body: Mapping[str, Json]
    at_ms: int
    expires_ms: int | None = None
    """From then on it is not answered any more, and is removed in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What must still be true in the transaction that commits an intent.

    The lease ``key`` is held by ``holder`` with ``token``; trading is not halted, unless ``despite_halt``; and for a
    ``ticket`` its mode lets the asker act and ``decide.authority`` permits it, judged on the ticket's standing.
    """

    key: str
    holder: str
    token: int
    ticket: int | None
    """None for what opens a trade of its own."""
    asker: Asker = Asker.DTMS
    states: frozenset[State] | None = None
    """DTMS's states of the trade that permit the action; None permits any. A disabled trade never permits one of
    DTMS's."""
    to_state: State | None = None
    """Where DTMS moves to with it."""
    despite_halt: bool = False
    mode: Mode | None = None
    """What the configuration says; the action needs ``auto``, in the end. None asks for no mode: a person's act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """Lease keys that no other live holder may have: a change of the store alone is then made as under their leases."""

    holder: str
    keys: Sequence[str]
    token: int | None = None
    """The holder's, where what is changed was looked at under the lease: it must have held it all the time since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Changes that are committed together, and the permission without which none is.

    ``create`` holds trades that must not exist yet (or only closed/disabled): the unit fails with ``AlreadyStored``
    otherwise, so concurrent registrations make one trade.
    """

    trades: Sequence[Trade] = ()
    create: Sequence[Trade] = ()
    intents: Sequence[Intent] = ()
    facts: Sequence[Fact] = ()
    evaluations: Sequence[Evaluation] = ()
    controls: Controls | None = None
    rails: Mapping[str, Json] | None = None
    keep: Sequence[Kept] = ()
    """Values to be kept, in place of what the same kind and key had."""
    forget: Sequence[tuple[KeptKind, str]] = ()
    ownership: Sequence[Ownership] = ()
    """Registry entries; each follows on the stored version before its own, else ``ChangedMeanwhile``."""
    unowned: Sequence[int] = ()
    """Tickets of which the registry may name no owner but DTMS or nobody, else ``ChangedMeanwhile``."""
    managed: Sequence[Managed] = ()
    plans: Sequence[Plan] = ()
    """Each follows on the stored version before its own, else ``ChangedMeanwhile``."""
    free: Free | None = None
    """The unit fails with ``LeaseHeld`` when another has one of these leases."""
    release: Lease | None = None
    """Given back together with it, when it is still held."""
    authority: Authority | None = None
    permission: Permission | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """All that a start needs: active trades, open intents, controls, rails, the highest intent number."""

    trades: Sequence[Trade]
    """Active ones, those disabled by hand, and closed ones that have a position beside their own left."""
    intents: Sequence[Intent]
    """Open ones."""
    controls: Controls
    rails: Mapping[str, Json]
    tickets: frozenset[int]
    """Of every trade ever stored, closed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of trades and where the next one starts."""

    trades: Sequence[Trade]
    next_cursor: int | None


class Store(Protocol):
    """The store. Every method raises ``StoreFailed`` when it cannot read or write.

    ``commit`` raises ``PermissionGone`` when the unit's permission or authority no longer holds, and then writes
    nothing of it. After an error of the store itself nothing is acknowledged before ``reopen``.
    """

    async def open(self) -> None:
        """Open, migrate and verify.

        Raises:
            Misconfigured: for a newer schema or an unsound SQLite library.
        """
        ...

    async def close(self) -> None: ...

    async def reopen(self) -> None:
        """Close what is open, open the file anew and verify it, after the store failed.

        Raises:
            StoreFailed: when it still cannot be trusted.
        """
        ...

    async def load(self) -> Loaded: ...

    async def commit(self, unit: Unit) -> Sequence[int]:
        """Commit a unit durably and return the ids of its facts."""
        ...

    async def next_intent_numbers(self, count: int) -> range:
        """Reserve numbers for intents, durably; never given twice, whatever crashes."""
        ...

    async def kept(self, kind: KeptKind, key: str | None = None) -> Sequence[Kept]:
        """Read what is kept of a kind and has not expired, oldest first; with ``key`` that one or none."""
        ...

    async def trade(self, ticket: int) -> Trade | None: ...

    async def trades(
        self,
        *,
        states: frozenset[State] | None = None,
        symbol: str | None = None,
        tickets: Sequence[int] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Page through trades by rising registration; active ones unless ``states`` says otherwise."""
        ...

    async def intents(self, *, ticket: int | None = None, open_only: bool = False) -> Sequence[Intent]: ...

    async def facts(
        self,
        *,
        ticket: int | None = None,
        kinds: frozenset[str] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        after: int | None = None,
        limit: int = 100,
        newest: bool = False,
    ) -> Sequence[Fact]:
        """Read facts in rising order; with ``newest`` the last ``limit`` of them."""
        ...

    async def count_facts(self, kinds: frozenset[str], ticket: int | None = None) -> int: ...

    async def evaluations(
        self, symbol: str, direction: str, *, from_ms: int, to_ms: int, limit: int = 1000, newest: bool = False
    ) -> Sequence[Evaluation]: ...

    async def acquire(self, key: str, holder: str, ttl_s: float) -> Lease | None:
        """Take or re-take a lease with a higher token; None while another live holder has it."""
        ...

    async def lease(self, key: str) -> Lease | None:
        """Read who has a lease, and until when; None when it was given back or never held."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        """Extend a lease; None when it was lost."""
        ...

    async def release(self, lease: Lease) -> None: ...

    async def grant(
        self, key: str, holder: str, ttl_s: float, *, ticket: int | None, superseding: int | None = None
    ) -> Grant:
        """Take or re-take a lease with a higher token, and read the ticket's standing in the same transaction.

        ``superseding`` is the token of a lease that lapsed under a holder that may still be running, and above which
        one was announced to the gateway.

        Raises:
            LeaseHeld: while another live holder has it; ``is_lapsed`` when another that let it lapse could still send
                under it, and is not the one that is superseded.
        """
        ...

    async def standing(self, ticket: int) -> Standing:
        """Read what holds for a ticket now."""
        ...

    async def states(self, tickets: Sequence[int] | None = None) -> Mapping[int, State]:
        """Read DTMS's states of trades that it watches, all of them or those named; for display and first looks."""
        ...

    async def ownerships(self, tickets: Sequence[int] | None = None) -> Sequence[Ownership]:
        """Read registry entries: those of positions that are not closed, or those named."""
        ...

    async def managed(self, *, manager: Owner | None = None, ticket: int | None = None) -> Sequence[Managed]:
        """Read what managers hold: all that is active, or whatever there is of a ticket."""
        ...

    async def plans(self, *, statuses: frozenset[PlanStatus] | None = None, limit: int = 1000) -> Sequence[Plan]:
        """Read plans, oldest first."""
        ...

    async def plan(self, plan_id: str) -> Plan | None: ...

    async def intent(self, number: int) -> Intent | None: ...

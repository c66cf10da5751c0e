"""What dtms asks of its store. A commit that returned is durable; a unit is applied whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, Json
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
    """What must still be true in the transaction that commits an intent."""

    key: str
    holder: str
    token: int
    ticket: int
    states: frozenset[State]
    """States of the trade that permit the action."""
    despite_halt: bool = False
    owners: frozenset[Owner] | None = None
    """Owners of the trade that permit the action; None permits any. A disabled trade never permits one."""


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

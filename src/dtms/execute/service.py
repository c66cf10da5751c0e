"""What the protection engine offers to the programs around it: the values that cross this seam, and the protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, TypeVar

from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.trade import Mode, Trade
from dtms.market.view import MarketView
from dtms.ports.store import Kept
from dtms.settings import Settings

T = TypeVar("T")
Receipt = Callable[[T], Kept | None]
"""Given what a request came to, return what is to be kept of it in the same commit as its effect; None keeps nothing.

It may be asked more than once, because what others commit meanwhile can change what the request came to.
"""


class Step(StrEnum):
    """How far a start has come."""

    CONFIGURATION = "configuration"
    STORE = "store"
    BROKER = "broker"
    RECOVERY = "recovery"
    MONITORING = "monitoring"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Readiness and liveness in one value."""

    step: Step
    recovered: bool
    """Whether the first recovery is done: before it nothing is served but health."""
    ready: bool
    monitoring_active: bool
    active_trades: int
    broker_connected: bool
    store_ok: bool
    reasons: tuple[str, ...]
    failure: str | None
    """Why initialisation failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """The supervised loop; times are market UTC milliseconds, spans machine seconds."""

    alive: bool
    age_s: float
    """Since the last cycle ended."""
    interval_s: float
    last_start_ms: int | None
    last_duration_s: float | None
    last_outcome: str
    cycles: int
    overruns: int
    restarts_last_hour: int
    stale_symbols: Mapping[str, str]
    """Symbol to reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    uptime_s: float
    market_ms: int | None
    """None before the terminal was asked."""
    active_trades: int
    trades_by_state: Mapping[str, int]
    fast_checks: int
    deep_checks: int
    actions_executed: int
    transitions: int
    last_check_ms: int | None
    mode: Mode
    halted: bool
    halt_reason: str | None
    rails: Mapping[str, Json]
    """Each rail with its figures and whether it blocks."""
    intents_unknown: int
    account: Mapping[str, Json]
    warnings: tuple[str, ...]
    """What a person should know: no calendar, no VIX, stale symbols, trades that need attention."""
    unknown_intents: tuple["UnknownIntent", ...] = ()
    pending: tuple["Pending", ...] = ()
    """Registrations that wait for the broker to list their positions."""
    parts: Mapping[str, Json] = field(default_factory=dict)
    """What other parts tell of themselves: store, backups, sources, audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownIntent:
    """A request to the broker whose outcome nobody can tell yet; ``age_s`` is market time."""

    number: int
    ticket: int
    kind: str
    state: str
    age_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A request to protect a position; what is None is filled from the broker's position."""

    ticket: int
    symbol: str | None = None
    side: Side | None = None
    entry: float | None = None
    volume: Decimal | None = None
    stop: float | None = None
    target: float | None = None
    strategy_type: str | None = None
    takeover: bool = False
    alongside: bool = False
    by_watcher: bool = False
    """Asked for because the position watcher found the position, and nobody else."""
    mode: Mode | None = None
    allow_pending: bool = False
    """Wait for the position when the broker does not list it yet."""
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    trade: Trade
    already_registered: bool
    adjusted: Mapping[str, Json]
    """Field to ``{"sent": …, "used": …}`` where the broker, or an earlier registration, won."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A registration that is kept until its position turns up; not yet a trade. Times are UTC ms of this machine."""

    ticket: int
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What a person has set for the whole account, as it is after a request."""

    halted: bool
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What memory knows of an active trade beyond its row."""

    trade: Trade
    price: float | None
    profit: float | None
    score: float | None
    view: MarketView | None
    last_fast_ms: int | None
    last_deep_ms: int | None
    flat_left_min: float | None
    recovery_left_min: float | None
    held: str | None
    """Why the trade is held without transitions, when it is."""


class RefusalCode(StrEnum):
    """Why a request to the engine was refused; the values are HTTP error codes."""

    INVALID = "invalid_request"
    TRADE_NOT_FOUND = "trade_not_found"
    POSITION_NOT_FOUND = "position_not_found"
    OWNED = "owned_by_other_manager"
    CONFLICT = "conflict"
    LEASE_HELD = "lease_held"
    NOT_READY = "not_ready"
    HALTED = "halted"


class Refused(Exception):
    """A request was refused; nothing changed."""

    def __init__(self, code: RefusalCode, message: str, details: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})


Result = Registered | Pending | Refused
"""What one registration came to."""


class Service(Protocol):
    """The engine as its HTTP program sees it. Every method that changes something raises ``Refused``."""

    @property
    def settings(self) -> Settings: ...

    def health(self) -> Health: ...

    def monitoring(self) -> Monitoring: ...

    def status(self) -> Status: ...

    def live(self, ticket: int) -> Live | None:
        """Return an active trade from memory, by its ticket or its position's present one; None when not active."""
        ...

    def live_trades(self) -> Sequence[Live]: ...

    def ticket_of(self, ticket: int) -> int | None:
        """Return the ticket under which a position's trade is watched, by its first or its present ticket."""
        ...

    def pending(self, ticket: int) -> Pending | None:
        """Return the registration that waits for this position."""
        ...

    def note_store_failure(self, error: StoreFailed) -> None:
        """Be unready until the store was reopened and verified."""
        ...

    async def register(self, request: Registration) -> Registered:
        """Register one trade durably, without waiting for its position."""
        ...

    async def register_all(
        self, requests: Sequence[Registration], receipt: Receipt[Sequence[Result]] | None = None
    ) -> Sequence[Result]:
        """Register durably, in order; all that is asked at once shares one look at the broker and one commit."""
        ...

    async def disable(
        self, ticket: int, *, close_hedge: bool, correlation_id: str | None, receipt: Receipt[Trade] | None = None
    ) -> Trade: ...

    async def halt(self, reason: str, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None: ...

    async def resume(self, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None: ...

    async def set_mode(
        self, mode: Mode, ticket: int | None, correlation_id: str | None, receipt: Receipt[Switches] | None = None
    ) -> None: ...

    async def initialize(self) -> None:
        """See to it that the engine runs; never builds a second one."""
        ...

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Use validated settings from the next cycle on; ``changes`` maps each key to its old and new value."""
        ...

"""What the main API offers apart from plans and managers: the values that cross this seam, and the protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dtms.domain.account import Account
from dtms.domain.actions import Intent, Outcome
from dtms.domain.facts import Json
from dtms.domain.market import Bars, Instrument, Side, Tick, Timeframe
from dtms.domain.position import Order, Position
from dtms.domain.trade import Mode, Owner, State
from dtms.execute.service import Receipt
from dtms.execute.trading.requests import Cancelled, Closed, Closing, Executed, Execution, Modification, Modified
from dtms.ports.store import Unit


class Code(StrEnum):
    """Why a request was refused; the values are HTTP error codes."""

    INVALID = "invalid_request"
    OWNED = "owned_by_other_manager"
    CONFLICT = "conflict"
    LEASE_HELD = "lease_held"
    NOT_FOUND = "not_found"
    HALTED = "halted"
    NOT_READY = "not_ready"
    BROKER_REFUSED = "broker_refused"
    """``details`` have ``retcode``, ``name``, ``meaning`` and ``remedy``."""


class TradingRefused(Exception):
    """A request was refused; nothing changed at the broker. ``details`` have the figures, and the ``rule``."""

    def __init__(self, code: Code, message: str, details: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})


# --- ownership and leases --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """Who has a ticket's lease, and for how long yet, in machine seconds."""

    holder: str
    left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The registry's answer for one ticket, also for one that nobody knows."""

    ticket: int
    managed_by: str = ""
    breakeven: bool = False
    symbol: str | None = None
    side: Side | None = None
    strategy_type: str | None = None
    dtms_state: State | None = None
    """None while DTMS does not watch it."""
    alongside: bool = False
    """DTMS stands beside the owner, and acts only when defensive."""
    lease: LeaseSeen | None = None
    read_ms: int = 0
    """When it was read, in UTC milliseconds of the wall clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerChange:
    """A claim, a release (``to`` is nobody) or a hand-over, made only while the owner is the one expected."""

    ticket: int
    expected: str
    """The present ``managed_by``, as the caller knows it."""
    to: Owner
    strategy_type: str | None = None
    """What the Universal manager is to manage it by."""
    lease_token: int | None = None
    override: bool = False
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An owner that changed; ``queued`` when DTMS is to take it and has not answered yet."""

    before: str
    entry: Entry
    queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A lease that another program has, and what is true of the ticket under it; ``expires_ms`` is wall time (UTC)."""

    ticket: int
    holder: str
    token: int
    expires_ms: int
    managed_by: str
    breakeven: bool
    dtms_state: State | None
    current_stop: float | None


# --- the broker's view -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSeen:
    """A position as the broker lists it, with its manager; a family position has its trade's."""

    position: Position
    managed_by: str
    dtms_state: State | None
    of_trade: int | None = None
    """The trade whose hedge or re-added position it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """A pending order; ``intent`` when dtms placed it."""

    order: Order
    intent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A symbol's newest quote."""

    instrument: Instrument
    tick: Tick


Begin = Callable[[int], Unit]
"""Given the intent's number, return what is committed with the intent: without it nothing is sent.

Asked again, with another number, when the price alone stood in the way and the order is decided anew.
"""


def nothing_begins(_: int) -> Unit:
    """Commit nothing but the intent."""
    return Unit()


Conclude = Callable[[Intent, Outcome, tuple[Position, ...]], Unit]
"""Given how an intent ended and what it opened, return what is committed with its outcome."""


def nothing_follows(_: Intent, __: Outcome, ___: tuple[Position, ...]) -> Unit:
    """Commit nothing but the outcome."""
    return Unit()


class Executes(Protocol):
    """What plans ask for; both methods raise as those of ``Trading`` do."""

    async def execute(
        self,
        request: Execution,
        *,
        guarded: bool = False,
        begin: Begin = nothing_begins,
        conclude: Conclude = nothing_follows,
        mode: Mode | None = None,
    ) -> Executed:
        """Open a position or place an order, once.

        Args:
            guarded: whether all rails are asked, as for a plan.
            mode: what the configuration says, where the mode binds the caller.
        """
        ...

    async def cancel(self, number: int, *, by_person: bool = False, correlation_id: str | None = None) -> Cancelled:
        """Remove the pending order that the intent of this number placed."""
        ...


class Trading(Protocol):
    """What the main API's requests do.

    Every method raises ``TradingRefused``, ``BrokerUnavailable`` when the broker does not answer before anything was
    sent, and ``StoreFailed``; the changing ones also ``PermissionGone`` when this program may act no more.
    """

    async def execute(
        self, request: Execution, *, guarded: bool = False, receipt: Receipt[Executed] | None = None
    ) -> Executed:
        """Open a position or place an order, once; ``guarded`` asks all rails, as for a plan.

        ``receipt`` is asked before it is sent, with what is to be told should nobody ever know more, and again with
        what it came to; what it returns is committed with the intent and with the outcome.
        """
        ...

    async def modify(self, request: Modification, *, receipt: Receipt[Modified] | None = None) -> Modified:
        """Set levels of a position; ``receipt`` as for an execution."""
        ...

    async def close(self, request: Closing, *, receipt: Receipt[Closed] | None = None) -> Closed:
        """Close a position, or lots of it; ``receipt`` as for an execution."""
        ...

    async def entry(self, ticket: int, *, fresh: bool = False) -> Entry:
        """Return the registry's entry; up to 5 s old unless ``fresh``, but owner and state no older than 0.5 s."""
        ...

    async def change_owner(self, change: OwnerChange) -> Changed:
        """Claim, release or hand over a position."""
        ...

    async def lease(self, ticket: int, holder: str, token: int | None = None) -> Leased:
        """Give another program a ticket's lease for 15 s, or renew the one that has this token."""
        ...

    async def release_lease(self, ticket: int, holder: str, token: int) -> None:
        """Take a lease back from its holder; one that is not held any more changes nothing."""
        ...

    async def account(self) -> Account: ...

    async def positions(self, *, symbol: str | None = None) -> Sequence[PositionSeen]: ...

    async def orders(self, *, symbol: str | None = None) -> Sequence[OrderSeen]:
        """Return the orders that wait for their price."""
        ...

    async def price(self, symbol: str) -> Price: ...

    async def candles(self, symbol: str, timeframe: Timeframe, count: int) -> Bars:
        """Return closed bars, the newest ``count``, oldest first."""
        ...

"""A trade: a position under defence, that is position + memory + state."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from dtms.domain.market import Side


class State(StrEnum):
    """How far a trade has been driven back; names and order are a contract."""

    HEALTHY = "HEALTHY"
    WARNING_L1 = "WARNING_L1"
    WARNING_L2 = "WARNING_L2"
    HEDGED = "HEDGED"
    RECOVERING = "RECOVERING"
    CLOSED = "CLOSED"

    @property
    def is_defensive(self) -> bool:
        """Whether DTMS has absolute authority over a trade in this state."""
        return self in (State.WARNING_L2, State.HEDGED)


class Mode(StrEnum):
    """What dtms may do with a trade: watch, propose, act."""

    OBSERVE = "observe"
    ADVISE = "advise"
    AUTO = "auto"


class Owner(StrEnum):
    """Which manager a trade belongs to; the values are those of ``managed_by``."""

    DTMS = "dtms_manager"
    UNIVERSAL = "universal_sl_tp_manager"
    EXITS = "intelligent_exit_manager"
    NOBODY = ""


class Role(StrEnum):
    """What a position beside the trade's own is for."""

    HEDGE = "hedge"
    READD = "readd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A position that dtms opened for a trade; ``volume`` is what is open of it now."""

    ticket: int
    identifier: int
    role: Role
    side: Side
    volume: Decimal
    entry: float
    stop: float | None
    target: float | None
    intent: int
    """Number of the intent that opened it, carried in its magic number."""
    opened_ms: int
    owed_stop: float | None = None
    """A recorded stop that the broker lost and that is to be put back."""


class Visit(StrEnum):
    """What runs at most once until HEALTHY was reached again."""

    TIGHTENED = "tightened"
    HALVED = "halved"
    SUBSTITUTED = "substituted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The state machine's memory of one trade; all times are market time in UTC milliseconds.

    The same value serves the real state and, in ``observe``, the shadow state.
    """

    state: State = State.HEALTHY
    entered_ms: int = 0
    """When the present state was entered."""
    stepped_down_ms: int = 0
    """When the last step down happened (dwell); 0 for never."""
    armed: bool = False
    done: frozenset[Visit] = frozenset()
    """What was done in this visit to a depth; emptied in HEALTHY."""
    flat_since_ms: int | None = None
    """Start of the flat timer; None while it does not run."""
    recovery_since_ms: int | None = None
    """Start of the recovery timer; None while it does not run."""
    breakeven_pending: bool = False
    hedges: int = 0
    """Hedges opened in the trade's life."""
    readds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a move failed, and when it may be decided anew; ``not_before_ms`` is market time.

    ``waits`` counts what held it up without being its failure, since it last failed.
    """

    move: str
    failures: int
    not_before_ms: int
    waits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A registered trade: identity, what was registered, what the broker holds now, and the machine's memory.

    Volumes are lots. ``initial_stop`` and ``risk`` (R, a price difference) are set at registration and never change.
    """

    ticket: int
    identifier: int
    login: int
    server: str
    symbol: str
    side: Side
    entry: float
    initial_volume: Decimal
    initial_stop: float | None
    risk: float
    nominal_risk: bool
    """R was taken as 1.5 ATR because the trade came without a stop."""
    registered_ms: int
    opened_ms: int

    volume: Decimal
    """Open now, of the trade's own position."""
    stop: float | None
    """Recorded stop of the trade's own position."""
    target: float | None
    closed_by_dtms: Decimal = Decimal(0)
    """Lots that dtms itself closed and did not re-add yet."""
    costs: float = 0.0
    """Commission and fees of the opening deal, in account currency, negative when paid."""

    machine: Machine = field(default_factory=Machine)
    shadow: Machine | None = None
    members: tuple[Member, ...] = ()
    owner: Owner = Owner.DTMS
    mode: Mode | None = None
    """None follows the account's mode."""
    strategy_type: str | None = None
    alongside: bool = False
    by_watcher: bool = False
    """Registered because nobody owned it, so an explicit claim may take it over."""
    disabled: bool = False
    """Stopped by hand: monitoring ends, and recovery does not enrol it again."""
    unconfirmed: bool = False
    """Missing at the broker without evidence of its closing."""
    needs_attention: str | None = None
    reduce_only: bool = False
    """An unresolved intent blocks what adds exposure."""
    retry: Retry | None = None
    closed_ms: int | None = None
    close_reason: str | None = None
    close_price: float | None = None
    realised: float = 0.0
    """Money of the closing deals, in account currency."""
    moved_to: int | None = None
    """The position's present ticket when the broker replaced it; its identifier stayed."""
    surplus: frozenset[int] = frozenset()
    """Tickets of family positions that are not wanted and are to be closed."""
    owed_stop: float | None = None
    """A recorded stop of the own position that the broker lost and that is to be put back."""
    part_left: Decimal | None = None
    """Lots still to be closed of a part that takes several positions and was begun."""
    acted_ms: Mapping[str, int] = field(default_factory=dict)
    """Market time at which each kind of action was last done."""
    version: int = 0

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def position(self) -> int:
        """The broker's ticket of the trade's own position, where ``ticket`` is what it was registered under."""
        return self.moved_to or self.ticket

    @property
    def is_active(self) -> bool:
        return self.machine.state is not State.CLOSED and not self.disabled

    @property
    def hedge(self) -> Member | None:
        """The live hedge, the largest when the broker split it."""
        hedges = [m for m in self.members if m.role is Role.HEDGE]
        return max(hedges, key=lambda m: m.volume) if hedges else None

    @property
    def hedges(self) -> tuple[Member, ...]:
        return tuple(m for m in self.members if m.role is Role.HEDGE)

    @property
    def readds(self) -> tuple[Member, ...]:
        return tuple(m for m in self.members if m.role is Role.READD)

    @property
    def open_volume(self) -> Decimal:
        """Lots open on the trade's side: its own position and what was re-added."""
        return self.volume + sum((m.volume for m in self.readds), Decimal(0))

    def r_multiple(self, price: float) -> float:
        """Return the profit at ``price`` in units of R."""
        return (price - self.entry) * self.side.sign / self.risk

    def with_member(self, member: Member) -> "Trade":
        others = tuple(m for m in self.members if m.ticket != member.ticket)
        return replace(self, members=(*others, member))

    def without_member(self, ticket: int) -> "Trade":
        return replace(self, members=tuple(m for m in self.members if m.ticket != ticket))

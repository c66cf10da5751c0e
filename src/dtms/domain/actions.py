"""Sized actions, and how each can end."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.trade import State


class ActionKind(StrEnum):
    """What an intent does at the broker."""

    TIGHTEN = "tighten_stop"
    BREAKEVEN = "stop_to_breakeven"
    ATTACH_STOP = "attach_stop"
    RESTORE_STOP = "restore_stop"
    CLOSE_PART = "close_part"
    OPEN_HEDGE = "open_hedge"
    CLOSE_HEDGE = "close_hedge"
    READD = "re_add"
    CLOSE = "close_all"
    TRAIL = "trail_stop"
    TAKE_PARTIAL = "take_partial"
    SET_LEVELS = "set_levels"
    EXECUTE = "execute"
    PLACE_ORDER = "place_order"
    CANCEL_ORDER = "cancel_order"

    @property
    def adds_risk(self) -> bool:
        return self in (ActionKind.OPEN_HEDGE, ActionKind.READD, ActionKind.EXECUTE, ActionKind.PLACE_ORDER)

    @property
    def changes_exposure(self) -> bool:
        """Whether sending it twice could do it twice."""
        return self.adds_risk or self in (ActionKind.CLOSE_PART, ActionKind.TAKE_PARTIAL)

    @property
    def opens_trade(self) -> bool:
        """Whether it begins a trade of its own, and belongs to no family."""
        return self in (ActionKind.EXECUTE, ActionKind.PLACE_ORDER)

    @property
    def moves_stop(self) -> bool:
        return self in _STOP_MOVES


_STOP_MOVES = frozenset(
    {
        ActionKind.TIGHTEN,
        ActionKind.BREAKEVEN,
        ActionKind.ATTACH_STOP,
        ActionKind.RESTORE_STOP,
        ActionKind.TRAIL,
        ActionKind.SET_LEVELS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveStop:
    """Set the stop of a position; ``target`` goes along bit-identical, because an omitted level is removed."""

    kind: ActionKind
    position: int
    symbol: str
    side: Side
    stop: float
    target: float | None
    expected_stop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePosition:
    """Close ``volume`` of a position that should hold ``expected_volume``."""

    kind: ActionKind
    position: int
    symbol: str
    side: Side
    """The side of the position that is closed."""
    volume: Decimal
    expected_volume: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """Open a position at market: a hedge, a re-add, or a trade of its own (which alone may come without a stop)."""

    kind: ActionKind
    symbol: str
    side: Side
    volume: Decimal
    stop: float | None
    target: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLevels:
    """Set stop and target of a position as a person or program asked; None removes a level."""

    kind: ActionKind
    position: int
    symbol: str
    side: Side
    stop: float | None
    target: float | None
    expected_stop: float | None
    expected_target: float | None


class OrderWay(StrEnum):
    """How a pending order waits for its price."""

    LIMIT = "limit"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Place a pending order at ``price``."""

    kind: ActionKind
    symbol: str
    side: Side
    way: OrderWay
    volume: Decimal
    price: float
    stop: float | None
    target: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Remove a pending order."""

    kind: ActionKind
    order: int
    symbol: str
    side: Side


Action = MoveStop | ClosePosition | OpenPosition | SetLevels | PlaceOrder | CancelOrder


class IntentState(StrEnum):
    PLANNED = "PLANNED"
    SENDING = "SENDING"
    CONFIRMED = "CONFIRMED"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    NOT_EXECUTED = "NOT_EXECUTED"
    NEEDS_HUMAN = "NEEDS_HUMAN"

    @property
    def is_open(self) -> bool:
        return self in (IntentState.PLANNED, IntentState.SENDING, IntentState.UNKNOWN, IntentState.NEEDS_HUMAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serves:
    """The transition that an intent serves, so that a late confirmation can still make it."""

    rule: str
    from_state: State
    to_state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One request to the broker, committed before it is sent.

    ``number`` is unique (40 bits) and travels in the magic number and the comment; times are market milliseconds.
    """

    number: int
    ticket: int
    """The trade's ticket; 0 for what opens a trade."""
    action: Action
    serves: Serves | None
    state: IntentState
    token: int
    """Fencing token of the lease under which it is sent."""
    created_ms: int
    sent_ms: int | None = None
    resolved_ms: int | None = None
    retcode: int | None = None
    message: str = ""
    order: int | None = None
    deal: int | None = None
    filled: Decimal | None = None
    price: float | None = None
    correlation_id: str | None = None
    asker: Asker = Asker.DTMS
    """Whose intent it is, who resolves it, and who is handed what it opened when it is an execution's."""
    plan: str | None = None
    """The plan that it executes."""
    strategy_type: str | None = None
    """Of an execution: with one the Universal manager owns what it opens, without one DTMS does."""


class Ending(StrEnum):
    """The four ways in which a move ends."""

    DONE = "done"
    NOT_POSSIBLE = "not_possible"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one action ended.

    ``wait`` marks a failure that waits for its cause to end and is not counted; ``again`` says how often it
    may be decided anew at once on a fresh look.
    """

    ending: Ending
    reason: str
    rule: str | None = None
    """What refused it before it was sent: a word for programs."""
    wait: bool = False
    again: int = 0
    retcode: int | None = None
    price: float | None = None
    volume: Decimal | None = None
    position: int | None = None
    time_ms: int | None = None
    intent: int | None = None

"""Sized actions, and how each can end."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from dtms.domain.market import Side
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

    @property
    def adds_risk(self) -> bool:
        return self in (ActionKind.OPEN_HEDGE, ActionKind.READD)

    @property
    def changes_exposure(self) -> bool:
        """Whether sending it twice could do it twice."""
        return self in (ActionKind.OPEN_HEDGE, ActionKind.READD, ActionKind.CLOSE_PART)

    @property
    def moves_stop(self) -> bool:
        return self in (ActionKind.TIGHTEN, ActionKind.BREAKEVEN, ActionKind.ATTACH_STOP, ActionKind.RESTORE_STOP)


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
    """Open a position at market: a hedge or a re-add."""

    kind: ActionKind
    symbol: str
    side: Side
    volume: Decimal
    stop: float
    target: float | None


Action = MoveStop | ClosePosition | OpenPosition


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
    """The trade's ticket."""
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
    wait: bool = False
    again: int = 0
    retcode: int | None = None
    price: float | None = None
    volume: Decimal | None = None
    position: int | None = None
    time_ms: int | None = None
    intent: int | None = None

"""What is asked of the broker through the main API, and what it came to: executions and changes, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from dtms.domain.actions import OrderWay
from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.trade import Owner

# --- executions ------------------------------------------------------------------------------------------------------

ORDER_TYPES: Mapping[str, tuple[Side | None, OrderWay | None]] = {
    "market": (None, None),
    "buy_limit": (Side.LONG, OrderWay.LIMIT),
    "sell_limit": (Side.SHORT, OrderWay.LIMIT),
    "buy_stop": (Side.LONG, OrderWay.STOP),
    "sell_stop": (Side.SHORT, OrderWay.STOP),
}
"""The words of ``order_type``: the side that each has, if it has one, and how it waits; a market order does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A position to be opened, now or when its price is reached; exactly one of ``volume`` and ``risk_pct`` is given.

    ``entry`` is the price of a pending order, and of a market order only told. ``risk_pct`` is a percentage of the
    equity, lost when the stop is hit.
    """

    symbol: str
    side: Side
    way: OrderWay | None = None
    """None executes at market."""
    entry: float | None = None
    stop: float | None = None
    target: float | None = None
    volume: Decimal | None = None
    risk_pct: float | None = None
    strategy_type: str | None = None
    notes: Mapping[str, Json] = field(default_factory=dict)
    """What the caller told of it: confidence, reasoning, timeframe."""
    plan: str | None = None
    """The plan that it executes."""
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Who looks after what was opened.

    ``registered`` says that the registry has its owner durably; ``queued`` that its registration with DTMS is durably
    on its way, or follows with the fill of the pending order.
    """

    manager: Owner
    registered: bool = False
    queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What an execution came to; ``unknown``: nobody can say yet, it is looked for by its number, never sent again."""

    ok: bool
    unknown: bool
    intent: int
    """The number by which it is found at the broker, and in the journal."""
    symbol: str
    side: Side
    way: OrderWay | None
    order: int | None
    """The broker's order; of a market order its position has the same ticket, but where ``ticket`` says otherwise."""
    deal: int | None
    ticket: int | None
    """The position's; None for a pending order."""
    tickets: tuple[int, ...]
    """All positions that the order made: a broker may fill it in several."""
    retcode: int | None
    comment: str
    volume: Decimal
    """Filled, or placed."""
    asked: Decimal
    price: float | None
    """Of the fill; of a pending order the price that it waits for."""
    stop: float | None
    target: float | None
    protection: Protection
    sizing: Mapping[str, Json] = field(default_factory=dict)
    """How ``risk_pct`` became a volume, in figures."""
    plan: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A pending order that was taken back, or of which nobody can say yet."""

    ok: bool
    unknown: bool
    order: int
    intent: int
    """The number of its removal."""


# --- changes ---------------------------------------------------------------------------------------------------------


class Level(Enum):
    """What a request does to a level that it names no price for."""

    UNCHANGED = "unchanged"
    """The level stays as it is, bit for bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modification:
    """Levels to be set; None removes one. It is judged as the lease's holder, as a person, or as Intelligent Exit."""

    ticket: int
    stop: float | Level | None = Level.UNCHANGED
    target: float | Level | None = Level.UNCHANGED
    lease_token: int | None = None
    override: bool = False
    """A person decides, whoever manages it."""
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Modified:
    """Levels before and after. ``changed`` is False when they stood so already, and nothing was sent."""

    ok: bool
    unknown: bool
    changed: bool
    ticket: int
    symbol: str
    side: Side
    old_stop: float | None
    old_target: float | None
    stop: float | None
    target: float | None
    asked_as: str
    """Whose authority it was judged by."""
    intent: int | None
    retcode: int | None
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A position to be closed, whole or in part; judged as a ``Modification`` is."""

    ticket: int
    volume: Decimal | None = None
    """None closes all of it."""
    reason: str | None = None
    lease_token: int | None = None
    override: bool = False
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What closing came to; volumes are lots."""

    ok: bool
    unknown: bool
    ticket: int
    symbol: str
    side: Side
    volume: Decimal
    """Lots that were closed."""
    left: Decimal
    old_volume: Decimal
    price: float | None
    asked_as: str
    order: int | None
    deal: int | None
    intent: int
    retcode: int | None
    comment: str

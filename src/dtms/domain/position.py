"""What the broker holds: positions, and the orders and deals that made or ended them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from dtms.domain.market import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One open position; ``stop`` and ``target`` are None when absent; times are UTC milliseconds.

    ``profit`` is floating, in account currency, without ``swap``. ``identifier`` stays when ``ticket`` changes.
    """

    ticket: int
    identifier: int
    symbol: str
    side: Side
    volume: Decimal
    entry: float
    stop: float | None
    target: float | None
    price_now: float
    profit: float
    swap: float
    magic: int
    comment: str
    opened_ms: int


class DealEntry(StrEnum):
    IN = "in"
    OUT = "out"
    INOUT = "inout"
    OUT_BY = "out_by"


class DealReason(StrEnum):
    CLIENT = "client"
    MOBILE = "mobile"
    WEB = "web"
    EXPERT = "expert"
    STOP = "stop"
    TARGET = "target"
    STOP_OUT = "stop_out"
    ROLLOVER = "rollover"
    """The night's swap, taken by closing and re-opening: the position goes on."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """One execution; ``position_id`` is the position's identifier; money in account currency."""

    ticket: int
    order: int
    position_id: int
    symbol: str
    side: Side
    entry: DealEntry
    reason: DealReason
    volume: Decimal
    price: float
    commission: float
    swap: float
    profit: float
    fee: float
    magic: int
    comment: str
    time_ms: int


class OrderState(StrEnum):
    """Where an order is; the last four are final."""

    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self not in (OrderState.WORKING, OrderState.PARTIAL)


class OrderKind(StrEnum):
    """How an order comes to a price: at once, when its price is reached, or against another position."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    CLOSE_BY = "close_by"

    @property
    def is_pending(self) -> bool:
        """Whether it waits for a price."""
        return self in (OrderKind.LIMIT, OrderKind.STOP, OrderKind.STOP_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order, pending or of the past; ``volume`` is what was asked for, ``left`` what is not filled of it.

    ``price`` is that for which a pending order waits; ``stop`` and ``target`` are what it gives its position, None when
    absent; times are UTC milliseconds.
    """

    ticket: int
    symbol: str
    side: Side
    volume: Decimal
    magic: int
    comment: str
    position_id: int
    left: Decimal = Decimal(0)
    state: OrderState = OrderState.WORKING
    set_up_ms: int = 0
    kind: OrderKind = OrderKind.MARKET
    price: float | None = None
    stop: float | None = None
    target: float | None = None
    expires_ms: int | None = None
    """When it ends unfilled; None for never."""
    reason: DealReason = DealReason.EXPERT
    """Who or what made it."""

    @property
    def filled(self) -> Decimal:
        return self.volume - self.left

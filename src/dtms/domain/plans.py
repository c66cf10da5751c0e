"""A plan: an order that waits for conditions, and is then executed once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from dtms.domain.facts import Json
from dtms.domain.market import Side


class PlanStatus(StrEnum):
    """How far a plan is; names are a contract."""

    PENDING = "pending"
    EXECUTING = "executing"
    PENDING_ORDER_PLACED = "pending_order_placed"
    EXECUTED = "executed"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether something can still come of it."""
        return self in (
            PlanStatus.PENDING,
            PlanStatus.EXECUTING,
            PlanStatus.PENDING_ORDER_PLACED,
            PlanStatus.EXECUTED,
        )


class OrderType(StrEnum):
    MARKET = "market"
    STOP = "stop"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan; times are market milliseconds (UTC), ``conditions`` validated data (``decide.conditions``)."""

    id: str
    symbol: str
    side: Side
    entry: float
    stop: float | None
    target: float | None
    volume: Decimal | None
    risk_pct: float | None
    conditions: Mapping[str, Json]
    strategy_type: str = "default_standard"
    order_type: OrderType = OrderType.MARKET
    expires_ms: int
    entry_levels: tuple[float, ...] = ()
    tolerance: float | None = None
    """How near to ``entry`` or a level the price must be, a price difference; None leaves it to the conditions."""
    notes: str | None = None
    bracket_id: str | None = None
    """Of plans with the same one, the first that executes cancels the others."""
    created_ms: int
    created_by: str | None = None
    created_price: float | None = None
    """The price at which ``side`` could have been opened when it was made: how far it ran is measured from there."""

    status: PlanStatus = PlanStatus.PENDING
    status_ms: int = 0
    """When the present status was entered."""
    reason: str | None = None
    """Why it is not pending any more, or what holds it up."""
    relies_on: Mapping[str, Json] = field(default_factory=dict)
    """The structure that stood when it was made, and whose break cancels it."""
    intent: int | None = None
    """Number of the intent that executes it."""
    order: int | None = None
    ticket: int | None = None
    fill_price: float | None = None
    proposed: bool = False
    """Its execution was recorded as a proposal, because of the mode."""
    correlation_id: str | None = None
    version: int = 0

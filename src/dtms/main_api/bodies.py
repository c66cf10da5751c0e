"""The bodies of the main API's requests: what they may hold, checked here, in the words of ``execute.trading``."""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator

from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.prices import lots
from dtms.domain.trade import Owner
from dtms.execute.trading.requests import ORDER_TYPES, Closing, Execution, Level, Modification
from dtms.execute.trading.service import OwnerChange
from dtms.wire import Answer, Body, Direction, Price, Symbol, Tag, Ticket, Volume
from dtms.wire import Level as Zeroed

TOKEN_MAX: Final = 2**53
Token = Annotated[int, Field(ge=1, le=TOKEN_MAX)]
Words = Annotated[str, Field(max_length=2000)]


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


OrderWord = Annotated[
    Literal["market", "buy_limit", "sell_limit", "buy_stop", "sell_stop"],
    BeforeValidator(_lower),
    WithJsonSchema({"type": "string", "enum": list(ORDER_TYPES)}),
]
Manager = Literal["dtms_manager", "universal_sl_tp_manager", "intelligent_exit_manager", ""]
Holder = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")]


class ExecuteRequest(Body):
    """Open a position, or place a pending order; exactly one of ``volume`` and ``risk_pct``."""

    symbol: Symbol
    direction: Direction
    order_type: OrderWord = "market"
    entry_price: Price | None = Field(None, description="The price of a pending order.")
    stop_loss: Zeroed = Field(None, description="0 means null.")
    take_profit: Zeroed = Field(None, description="0 means null.")
    volume: Volume | None = None
    risk_pct: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)] | None = Field(
        None, description="Percentage of the equity that is lost when the stop is hit."
    )
    strategy_type: Tag | None = None
    confidence: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    reasoning: Words | None = None
    timeframe: Tag | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ExecuteRequest":
        if (self.volume is None) == (self.risk_pct is None):
            raise ValueError("needs exactly one of volume and risk_pct")
        if self.risk_pct is not None and self.stop_loss is None:
            raise ValueError("risk_pct needs a stop_loss to be sized by")
        side, way = ORDER_TYPES[self.order_type]
        if side is not None and side is not Side.of_direction(self.direction):
            raise ValueError(f"order_type {self.order_type} contradicts direction {self.direction}")
        if way is not None and self.entry_price is None:
            raise ValueError(f"order_type {self.order_type} needs an entry_price")
        return self

    def execution(self, correlation_id: str) -> Execution:
        """Return the request in the words of the part that executes."""
        told: dict[str, Json] = {
            "confidence": self.confidence,
            "reasoning": self.reasoning,
            "timeframe": self.timeframe,
        }
        return Execution(
            symbol=self.symbol,
            side=Side.of_direction(self.direction),
            way=ORDER_TYPES[self.order_type][1],
            entry=self.entry_price,
            stop=self.stop_loss,
            target=self.take_profit,
            volume=None if self.volume is None else lots(self.volume),
            risk_pct=self.risk_pct,
            strategy_type=self.strategy_type,
            notes={name: value for name, value in told.items() if value is not None},
            correlation_id=correlation_id,
        )


class ModifyRequest(Body):
    """Set levels of a position; one that is not named stays as it is, null or 0 removes it."""

    ticket: Ticket
    stop_loss: Zeroed = None
    take_profit: Zeroed = None
    lease_token: Token | None = None
    override: StrictBool = False

    def modification(self, correlation_id: str) -> Modification:
        """Return the request in the words of the part that changes."""
        named = self.model_fields_set
        return Modification(
            ticket=self.ticket,
            stop=self.stop_loss if "stop_loss" in named else Level.UNCHANGED,
            target=self.take_profit if "take_profit" in named else Level.UNCHANGED,
            lease_token=self.lease_token,
            override=self.override,
            correlation_id=correlation_id,
        )


class CloseRequest(Body):
    """Close a position, whole or in part."""

    ticket: Ticket
    volume: Volume | None = Field(None, description="Lots; absent closes all of it.")
    reason: Words | None = None
    lease_token: Token | None = None
    override: StrictBool = False

    def closing(self, correlation_id: str) -> Closing:
        """Return the request in the words of the part that changes."""
        return Closing(
            ticket=self.ticket,
            volume=None if self.volume is None else lots(self.volume),
            reason=self.reason,
            lease_token=self.lease_token,
            override=self.override,
            correlation_id=correlation_id,
        )


class OwnerRequest(Body):
    """Claim a position, release it (``managed_by`` empty), or hand it over, while ``expected`` is its manager."""

    managed_by: Manager
    expected: Annotated[str, Field(max_length=64)] = Field("", description="The present managed_by, as it is known.")
    strategy_type: Tag | None = None
    lease_token: Token | None = None
    override: StrictBool = False

    def change(self, ticket: int, correlation_id: str) -> OwnerChange:
        """Return the request in the words of the registry."""
        return OwnerChange(
            ticket=ticket,
            expected=self.expected,
            to=Owner(self.managed_by),
            strategy_type=self.strategy_type,
            lease_token=self.lease_token,
            override=self.override,
            correlation_id=correlation_id,
        )


class LeaseRequest(Body):
    """Take a ticket's lease for 15 s, or renew the one with ``token``."""

    holder: Holder
    token: Token | None = None


class PlainAnswer(Answer):
    """An answer whose fields the route's description names."""


class RegistryAnswer(Answer):
    ticket: int
    managed_by: str
    breakeven_triggered: bool


class LeaseAnswer(Answer):
    ticket: int
    token: int
    expires_at: str
    managed_by: str
    breakeven_triggered: bool
    dtms_state: str | None
    current_stop: float | None


class ExecuteAnswer(Answer):
    ok: bool
    unknown: bool
    order_id: int | None
    deal_id: int | None
    retcode: int | None
    comment: str
    volume: float
    price: float | None
    protection: dict[str, object]

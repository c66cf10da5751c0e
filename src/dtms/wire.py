"""The bodies that cross HTTP: what a request may hold (checked here), and the parts of answers."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from dtms.domain.market import Side
from dtms.domain.prices import lots
from dtms.domain.trade import Mode
from dtms.execute.service import Registration

TICKET_MAX: Final = 2**63 - 1
BODY_BYTES_MAX: Final = 64 * 1024
BATCH_BYTES_MAX: Final = 512 * 1024
"""Of a batch of registrations: about a kilobyte for each."""
BATCH_MAX: Final = 500
SYMBOL_PATTERN: Final = r"^[A-Za-z0-9._#-]{1,32}$"
_EXACT_MAX: Final = 2**53
_DIGITS: Final = re.compile(r"[0-9]{1,19}")


def _whole_number(value: object) -> object:
    """Take an integer, or a string of plain ASCII digits; nothing that merely looks like one.

    JSON knows one kind of number, so 42.0 is 42, as far as a float is exact.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_MAX:
        return int(value)
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value):
            raise ValueError("must be an integer, or a string of digits")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be an integer, or a string of digits")
    return value


def _direction(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _zero_is_absent(value: object) -> object:
    return None if value == 0 and not isinstance(value, bool) else value


_TICKET_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": TICKET_MAX},
        {"type": "string", "pattern": r"^[1-9][0-9]{0,17}$"},
    ]
}

Ticket = Annotated[
    int, Field(ge=1, le=TICKET_MAX), BeforeValidator(_whole_number), WithJsonSchema(_TICKET_SCHEMA, mode="validation")
]
Symbol = Annotated[str, Field(pattern=SYMBOL_PATTERN)]
Price = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False, le=1e15)]
Level = Annotated[
    Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False, le=1e15)] | None,
    BeforeValidator(_zero_is_absent),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1e15}, {"type": "null"}]}),
]
Volume = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False, le=1e9)]
Direction = Annotated[
    Literal["BUY", "SELL"],
    BeforeValidator(_direction),
    WithJsonSchema({"type": "string", "pattern": "^([Bb][Uu][Yy]|[Ss][Ee][Ll][Ll])$"}),
]
ModeName = Literal["observe", "advise", "auto"]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+$")]


class Body(BaseModel):
    """A request's body; keys that it does not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


POSITION_WATCHER: Final = "position_watcher"


class EnableRequest(Body):
    """Register one trade; what is absent is filled from the broker's position."""

    ticket: Ticket
    symbol: Symbol | None = None
    direction: Direction | None = None
    entry: Price | None = None
    entry_price: Price | None = Field(None, description="Another name for entry.")
    volume: Volume | None = None
    stop_loss: Level = Field(None, description="0 means null.")
    take_profit: Level = Field(None, description="0 means null.")
    strategy_type: Tag | None = None
    takeover: StrictBool = False
    alongside: StrictBool = False
    mode: ModeName | None = None
    allow_pending: StrictBool = Field(False, description="Wait up to 60 s for a position that is not listed yet.")
    source: Any = Field(
        None,
        description="`position_watcher` is sent by the main API: the trade yields to a manager that claims it.",
    )

    def registration(self, correlation_id: str) -> Registration:
        """Return the request in the engine's words."""
        volume: Decimal | None = None if self.volume is None else lots(self.volume)
        return Registration(
            ticket=self.ticket,
            symbol=self.symbol,
            side=None if self.direction is None else Side.of_direction(self.direction),
            entry=self.entry if self.entry is not None else self.entry_price,
            volume=volume,
            stop=self.stop_loss,
            target=self.take_profit,
            strategy_type=self.strategy_type,
            takeover=self.takeover,
            alongside=self.alongside,
            by_watcher=self.source == POSITION_WATCHER,
            mode=None if self.mode is None else Mode(self.mode),
            allow_pending=self.allow_pending,
            correlation_id=correlation_id,
        )


_BATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/EnableRequest"},
    "minItems": 1,
    "maxItems": BATCH_MAX,
    "description": "Each is judged by itself: one that breaks a rule is refused by itself, and the others are not.",
}


class BatchRequest(Body):
    """Register many trades at once: ``{"trades": […]}``, or the list alone."""

    trades: Annotated[list[Any], WithJsonSchema(_BATCH_SCHEMA)] = Field(min_length=1, max_length=BATCH_MAX)

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, value: object) -> object:
        return {"trades": value} if isinstance(value, list) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        return {**schema, "anyOf": [{"type": "object"}, schema["properties"]["trades"]], "type": ["object", "array"]}


class DisableRequest(Body):
    close_hedge: StrictBool = False


class HaltRequest(Body):
    reason: Annotated[str, Field(min_length=1, max_length=500)] = "halted by request"


class ModeRequest(Body):
    mode: ModeName
    ticket: Ticket | None = None


class EmptyRequest(Body):
    """Nothing is needed; an empty body will do."""


class Answer(BaseModel):
    """What every answer holds; fields may be added, never taken away."""

    model_config = ConfigDict(extra="allow")
    success: bool
    summary: str


class FieldError(BaseModel):
    field: str
    message: str
    rule: str


class ErrorAnswer(Answer):
    """The envelope of every answer that is not a 2xx."""

    error: str
    message: str
    details: dict[str, Any]
    correlation_id: str


class HealthAnswer(BaseModel):
    model_config = ConfigDict(extra="allow")
    status: Literal["healthy", "degraded", "unhealthy"]
    dtms_initialized: bool
    dtms_available: bool
    timestamp: str


class ReadinessAnswer(BaseModel):
    model_config = ConfigDict(extra="allow")
    dtms_initialized: bool
    monitoring_active: bool
    active_trades: int
    ready: bool
    broker_connected: bool
    store_ok: bool
    reasons: list[str]
    timestamp: str


class MonitoringAnswer(BaseModel):
    model_config = ConfigDict(extra="allow")
    status: Literal["healthy", "unhealthy"]
    alive: bool
    loop_age_s: float
    last_cycle: dict[str, Any]
    cycles: int
    overruns: int
    restarts_last_hour: int
    stale_symbols: dict[str, str]


class StatusAnswer(Answer):
    dtms_status: dict[str, Any]


class TradeInfo(BaseModel):
    model_config = ConfigDict(extra="allow")
    ticket: int
    symbol: str
    direction: Literal["BUY", "SELL"]
    entry_price: float
    volume: float
    stop_loss: float | None
    take_profit: float | None
    state: str


class EnableAnswer(Answer):
    trade_info: TradeInfo
    already_registered: bool
    adjusted: dict[str, Any]


class PendingAnswer(Answer):
    """A registration that waits for its position; not yet a trade."""

    pending: Literal[True]
    ticket: int
    since: str
    until: str


class BatchAnswer(Answer):
    """What each registration came to, in order; ``status`` is what it would have been answered alone."""

    results: list[dict[str, Any]]
    registered: int
    already_registered: int
    pending: int
    refused: int


class DisableAnswer(Answer):
    trade_info: TradeInfo


class TradeAnswer(Answer):
    ticket: int
    symbol: str
    direction: Literal["BUY", "SELL"]
    state: str
    current_score: float | None
    state_entry_time: str | None
    trade_info: TradeInfo


class TradesAnswer(Answer):
    trades: list[TradeAnswer]
    next_cursor: int | None


class HistoryAnswer(Answer):
    ticket: int
    points: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    not_done: list[dict[str, Any]]


class ExplainAnswer(Answer):
    ticket: int
    at: str
    state: str
    score: float | None
    layers: list[dict[str, Any]]
    absent: list[str]
    thresholds: dict[str, float]


class ActionsAnswer(Answer):
    action_history: list[dict[str, Any]]
    total_actions: int
    next_cursor: int | None


class EngineAnswer(Answer):
    engine_info: dict[str, Any]


class ControlAnswer(Answer):
    halted: bool
    mode: ModeName


class ReloadAnswer(Answer):
    changes: dict[str, Any]
    needs_restart: dict[str, Any]

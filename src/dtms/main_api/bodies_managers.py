"""The bodies of requests about plans and managers: what they may hold, checked here, in the words of ``execute``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from dtms.decide.plans_drafts import Draft
from dtms.domain.prices import lots
from dtms.execute.planning.service import PLANS_AT_ONCE
from dtms.main_api.bodies import Words
from dtms.wire import Answer, Body, Direction, Price, Symbol, Tag, Ticket, Volume
from dtms.wire import Level as Zeroed

LEVELS_MAX: Final = 100
Percent = Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]
Hours = Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)]
Levels = Annotated[list[Price], Field(max_length=LEVELS_MAX)]
_CONDITIONS: Final = (
    'Conditions `{"name": …, parameters}` joined by `all`, `any` and `not`; a list means all of it. The names, and '
    "what each asks, are told by `GET /auto-execution/conditions`."
)
_PLAIN: Final = frozenset(
    {
        "symbol",
        "direction",
        "entry",
        "stop_loss",
        "take_profit",
        "risk_pct",
        "conditions",
        "strategy_type",
        "order_type",
        "expires_hours",
        "tolerance",
        "notes",
        "bracket_id",
    }
)
"""Fields that a draft has under the same name, and as they are."""


class PlanRequest(Body):
    """A plan that waits for its conditions, and then executes once; exactly one of ``volume`` and ``risk_pct``."""

    symbol: Symbol
    direction: Direction
    entry: Price | None = Field(None, description="Required, unless entry_levels are given.")
    stop_loss: Zeroed = Field(None, description="0 means null.")
    take_profit: Zeroed = Field(None, description="0 means null.")
    volume: Volume | None = None
    risk_pct: Percent | None = Field(None, description="Percentage of the equity that is lost when the stop is hit.")
    conditions: Any = Field(None, description=_CONDITIONS)
    strategy_type: Tag | None = Field(None, description="default_standard when absent.")
    order_type: Tag = Field("market", description="market, stop or limit.")
    expires_hours: Hours | None = Field(None, description="24; of a micro scalp 2, of a range scalp 8.")
    entry_levels: Levels | None = Field(None, description="Several prices at which it may execute.")
    tolerance: Price | None = Field(None, description="How near to an entry the price must be, a price difference.")
    notes: Words | None = None
    bracket_id: Tag | None = Field(None, description="Of plans with the same one the first to execute ends the others.")
    created_by: Tag | None = None

    def draft(self, correlation_id: str) -> Draft:
        """Return the request in the words of the part that checks it as a whole."""
        plain: Mapping[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        return Draft(
            **plain,
            volume=None if self.volume is None else lots(self.volume),
            entry_levels=tuple(self.entry_levels or ()),
            created_by=self.created_by,
            correlation_id=correlation_id,
        )


class PlanChange(Body):
    """What of a pending plan is to be different; a field that is not named stays, null takes it away."""

    entry: Price | None = None
    stop_loss: Zeroed = None
    take_profit: Zeroed = None
    volume: Volume | None = None
    risk_pct: Percent | None = None
    conditions: Any = Field(None, description=_CONDITIONS)
    strategy_type: Tag | None = None
    order_type: Tag = "market"
    expires_hours: Hours | None = Field(None, description="From now on.")
    entry_levels: Levels | None = None
    tolerance: Price | None = None
    notes: Words | None = None
    bracket_id: Tag | None = None

    def changed(self, draft: Draft) -> Draft:
        """Return a draft with what is named; one of volume and risk_pct takes the other's place."""
        named = self.model_fields_set
        changes: dict[str, Any] = {name: getattr(self, name) for name in named & _PLAIN}
        if "volume" in named:
            changes["volume"] = None if self.volume is None else lots(self.volume)
        if "entry_levels" in named:
            changes["entry_levels"] = tuple(self.entry_levels or ())
        if self.volume is not None and "risk_pct" not in named:
            changes["risk_pct"] = None
        if self.risk_pct is not None and "volume" not in named:
            changes["volume"] = None
        return replace(draft, **changes)


class PlanBatch(Body):
    """Several plans, each judged by itself."""

    plans: Annotated[list[Any], Field(min_length=1, max_length=PLANS_AT_ONCE)] = Field(
        json_schema_extra={"items": {"$ref": "#/components/schemas/PlanRequest"}}
    )


class UniversalRequest(Body):
    """Give a position to the Universal SL/TP manager, by the rules of a strategy."""

    ticket: Ticket
    strategy_type: Tag = "default_standard"


class ExitsRequest(Body):
    """Put a position under profit protection; nothing needs to be said."""


class PlanAnswer(Answer):
    plan: dict[str, object]


class PlansAnswer(Answer):
    plans: list[dict[str, object]]


class PlanBatchAnswer(Answer):
    results: list[dict[str, object]]


class PlansStatusAnswer(Answer):
    plans: dict[str, int]
    running: bool


class ConditionsAnswer(Answer):
    conditions: list[dict[str, object]]


class ManagedAnswer(Answer):
    trade: dict[str, object]


class ManagedListAnswer(Answer):
    trades: list[dict[str, object]]


class StrategiesAnswer(Answer):
    strategies: list[dict[str, object]]


class ExplainAnswer(Answer):
    ticket: int
    explained: list[str]


class HistoryAnswer(Answer):
    ticket: int
    history: list[dict[str, object]]


class StatisticsAnswer(Answer):
    statistics: dict[str, object]

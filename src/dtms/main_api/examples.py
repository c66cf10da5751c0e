"""Examples for the main API's documentation, made by the read models from one sample trade and one sample plan."""

from decimal import Decimal
from functools import cache
from typing import Any, Final

from dtms.decide.conditions import Truth, Verdict
from dtms.decide.plans import Waits
from dtms.domain.facts import Fact, FactKind
from dtms.domain.managed import Managed, TrailingMethod, UniversalRules
from dtms.domain.market import Side, Timeframe
from dtms.domain.plans import Plan
from dtms.domain.trade import Mode, Owner
from dtms.execute.managing.managers import Live, Statistics
from dtms.execute.planning.seen import PlanSeen, PlansStatus
from dtms.execute.trading.requests import Executed, Protection
from dtms.execute.trading.service import Entry, Leased
from dtms.views.main import entry_view, executed_view, leased_view
from dtms.views.main_managers import (
    explain_view,
    history_view,
    list_view,
    live_view,
    statistics_view,
    strategies_view,
    taken_view,
)
from dtms.views.main_plans import batch_view, conditions_view, made_view, plan_view, plans_view, status_view

_AT: Final = 1_758_905_100_000  # 2025-09-26 16:45 UTC
_HOUR: Final = 3_600_000
_TICKET: Final = 100_042
_SYMBOL: Final = "XAUUSD"
_CONDITIONS: Final[dict[str, Any]] = {
    "all": [
        {"name": "price_near", "price": 3_780.0, "tolerance": 1.5},
        {"name": "bos_bull", "timeframe": "M5"},
    ]
}
_PLAN: Final = Plan(
    id="01K63MZX5W3YAQ4T0V9C8H2E7B",
    symbol=_SYMBOL,
    side=Side.LONG,
    entry=3_780.0,
    stop=3_770.0,
    target=3_800.0,
    volume=Decimal("0.10"),
    risk_pct=None,
    conditions=_CONDITIONS,
    strategy_type="breakout_bos",
    expires_ms=_AT + 24 * _HOUR,
    created_ms=_AT,
    created_price=3_784.2,
    status_ms=_AT,
)
_VERDICT: Final = Verdict(
    "all",
    Truth.FAILS,
    parts=(
        Verdict("price_near", Truth.FAILS, "3784.2, 4.2 away", "within 1.5 of 3780"),
        Verdict("bos_bull", Truth.HOLDS, "broke 3779.1 3 bars ago", "a break upwards on M5"),
    ),
)
_WAITS: Final = Waits(_VERDICT.summary(), _VERDICT)
_RULES: Final = UniversalRules(
    strategy_type="breakout_bos",
    session="london",
    breakeven_r=1.0,
    trailing=TrailingMethod.ATR,
    timeframe=Timeframe.M15,
    atr_multiplier=2.0,
    lookback=1,
    buffer_atr=0.5,
    min_change_r=0.1,
    cooldown_s=60.0,
    partial_r=None,
    partial_share=None,
    session_factor=1.0,
    baseline_atr=4.8,
)
_MANAGED: Final = Managed(
    ticket=_TICKET,
    manager=Owner.UNIVERSAL,
    identifier=_TICKET,
    login=5001,
    server="Demo",
    symbol=_SYMBOL,
    side=Side.LONG,
    entry=3_780.0,
    initial_volume=Decimal("0.10"),
    initial_stop=3_770.0,
    risk=10.0,
    nominal_risk=False,
    rules=_RULES,
    opened_ms=_AT,
    registered_ms=_AT,
    volume=Decimal("0.10"),
    stop=3_770.0,
    target=3_800.0,
)
_LIVE: Final = Live(
    managed=_MANAGED,
    owner=Owner.UNIVERSAL.value,
    notes={"breakeven": "0.42 R of 1 R"},
    explained=("Breakeven waits for 1 R; the trade stands at 0.42 R.", "The stop trails after breakeven."),
    looked_ms=_AT + _HOUR,
    price=3_784.2,
)
_FACT: Final = Fact(
    kind=FactKind.MANAGED,
    ticket=_TICKET,
    market_ms=_AT,
    summary="taken up by Intelligent Exit",
    details={"manager": Owner.EXITS.value},
    symbol=_SYMBOL,
)
_EXECUTED: Final = Executed(
    ok=True,
    unknown=False,
    intent=17,
    symbol=_SYMBOL,
    side=Side.LONG,
    way=None,
    order=_TICKET,
    deal=200_042,
    ticket=_TICKET,
    tickets=(_TICKET,),
    retcode=10009,
    comment="",
    volume=Decimal("0.10"),
    asked=Decimal("0.10"),
    price=3_780.0,
    stop=3_770.0,
    target=3_800.0,
    protection=Protection(manager=Owner.UNIVERSAL, registered=True),
)
_ENTRY: Final = Entry(
    ticket=_TICKET, managed_by=Owner.UNIVERSAL.value, symbol=_SYMBOL, side=Side.LONG, strategy_type="breakout_bos"
)
_LEASED: Final = Leased(
    ticket=_TICKET,
    holder="my_program",
    token=42,
    expires_ms=_AT + 15_000,
    managed_by=Owner.UNIVERSAL.value,
    breakeven=False,
    dtms_state=None,
    current_stop=3_770.0,
)
_PLAN_REQUEST: Final[dict[str, Any]] = {
    "symbol": _SYMBOL,
    "direction": "BUY",
    "entry": 3_780.0,
    "stop_loss": 3_770.0,
    "take_profit": 3_800.0,
    "volume": 0.1,
    "strategy_type": "breakout_bos",
    "conditions": _CONDITIONS["all"],
}


@cache
def examples() -> dict[str, Any]:
    """Return the examples by method and path."""
    return {**_of_trading(), **_of_plans(), **_of_managers()}


def _of_trading() -> dict[str, Any]:
    entry, lease = "/trade-registry/{ticket}", "/trade-registry/{ticket}/lease"
    order = {
        "symbol": _SYMBOL,
        "direction": "BUY",
        "volume": 0.1,
        "stop_loss": 3_770.0,
        "strategy_type": "breakout_bos",
    }
    return {
        "POST /mt5/execute": executed_view(_EXECUTED),
        "POST /mt5/execute request": order,
        "POST /mt5/modify_position request": {"ticket": _TICKET, "stop_loss": 3_778.0},
        "POST /mt5/close_position request": {"ticket": _TICKET, "volume": 0.05},
        f"GET {entry}": entry_view(_ENTRY),
        f"PUT {entry}": entry_view(_ENTRY),
        f"PUT {entry} request": {"managed_by": Owner.UNIVERSAL.value, "expected": "", "strategy_type": "breakout_bos"},
        f"POST {lease}": leased_view(_LEASED),
        f"POST {lease} request": {"holder": "my_program"},
    }


def _of_plans() -> dict[str, Any]:
    every, one = "/auto-execution/plans", "/auto-execution/plans/{plan_id}"
    status = PlansStatus(
        by_status={"pending": 1},
        held={},
        stale={},
        unreadable={},
        rounds=240,
        judged=240,
        last_round_ms=_AT + _HOUR,
        age_s=0.4,
        check_s=15.0,
        halted=False,
        mode=Mode.AUTO,
        waiting_max=1_000,
    )
    return {
        f"POST {every}": made_view(_PLAN),
        f"POST {every} request": _PLAN_REQUEST,
        f"GET {every}": plans_view([_PLAN]),
        f"POST {every}/batch": batch_view([{"index": 0, "status": 200, **made_view(_PLAN)}]),
        f"POST {every}/batch request": {"plans": [_PLAN_REQUEST]},
        f"GET {one}": plan_view(PlanSeen(plan=_PLAN, facts=None, condition=None, judged=_WAITS)),
        f"PATCH {one}": made_view(_PLAN),
        f"PATCH {one} request": {"stop_loss": 3_772.0},
        f"DELETE {one}": made_view(_PLAN),
        "GET /auto-execution/status": status_view(status),
        "GET /auto-execution/conditions": conditions_view(),
    }


def _of_managers() -> dict[str, Any]:
    trades, one, protection = "/universal/trades", "/universal/trades/{ticket}", "/mt5/intelligent_exits"
    figures = Statistics(
        active=1, breakeven_done=0, partial_done=0, trailing=0, actions={}, since_start={}, lost={"lease_held": 1}
    )
    return {
        f"POST {trades}": taken_view(_MANAGED),
        f"POST {trades} request": {"ticket": _TICKET, "strategy_type": "breakout_bos"},
        f"GET {trades}": list_view(Owner.UNIVERSAL, [_LIVE]),
        f"GET {one}": live_view(_LIVE),
        f"DELETE {one}": taken_view(_MANAGED, ended=True),
        f"GET {one}/explain": explain_view(_LIVE),
        "GET /universal/strategies": strategies_view(),
        f"GET {protection}/status": list_view(Owner.EXITS, []),
        f"GET {protection}/history/{{ticket}}": history_view(_TICKET, [_FACT]),
        f"GET {protection}/statistics": statistics_view(Owner.EXITS, figures),
        f"POST {protection}/{{ticket}}": taken_view(_MANAGED),
        f"DELETE {protection}/{{ticket}}": taken_view(_MANAGED, ended=True),
    }

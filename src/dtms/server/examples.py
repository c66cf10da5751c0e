"""Examples for the documentation, made by the read models from one sample trade."""

from decimal import Decimal
from functools import cache
from typing import Any, Final

from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.market import Side
from dtms.domain.trade import Machine, Mode, State, Trade
from dtms.execute.service import Health, Live, Monitoring, Pending, Registered, Status, Step, UnknownIntent
from dtms.ports.store import Evaluation
from dtms.server.answers import STATUS, ErrorCode, Problem, envelope
from dtms.views.explain import Explained, explain_view
from dtms.views.journal import Page, history_view
from dtms.views.registering import accepted_view, batch_view, disabled_view, pending_view, refused_view, registered_view
from dtms.views.system import (
    actions_view,
    engine_view,
    liveness_view,
    monitoring_view,
    readiness_view,
    status_view,
)
from dtms.views.trade import Record, Surroundings, trade_view

_AT: Final = 1_758_905_100_000  # 2025-09-26 16:45 UTC
_MINUTE: Final = 60_000
_CORRELATION: Final = "01K63MZX5W3YAQ4T0V9C8H2E7B"

_TRADE: Final = Trade(
    ticket=123456789,
    identifier=123456789,
    login=5001,
    server="Demo",
    symbol="XAUUSD",
    side=Side.SHORT,
    entry=3777.47,
    initial_volume=Decimal("0.10"),
    initial_stop=3795.95,
    risk=18.48,
    nominal_risk=False,
    registered_ms=_AT,
    opened_ms=_AT,
    volume=Decimal("0.10"),
    stop=3795.95,
    target=None,
    machine=Machine(state=State.WARNING_L1, entered_ms=_AT + 30 * _MINUTE, armed=True),
)
_BODY: Final[dict[str, Json]] = {
    "direction": "SELL",
    "total": -3.8,
    "scale": 1.0,
    "readings": [
        {
            "layer": "structure",
            "points": -3.0,
            "raw": -3.0,
            "factor": 1.0,
            "reason": "break of structure up at 3781.20",
        },
        {"layer": "momentum", "points": -0.8, "raw": -1.0, "factor": 0.8, "reason": "RSI 58.1 and rising over 3 bars"},
    ],
    "absent": ["flow"],
    "figures": {"close": 3782.1},
}
_TRANSITION: Final = Fact(
    kind=FactKind.TRANSITION,
    ticket=_TRADE.ticket,
    market_ms=_AT + 30 * _MINUTE,
    summary="HEALTHY → WARNING_L1: score -3.80 at or below -3.50.",
    details={
        "from": "HEALTHY",
        "to": "WARNING_L1",
        "rule": "warn_l1",
        "reason": "score -3.80 at or below -3.50",
        "score": -3.8,
        "moves": ["tighten_stop"],
        "price": 3782.1,
    },
    symbol=_TRADE.symbol,
    id=17,
)
_ACTION: Final = Fact(
    kind=FactKind.ACTION,
    ticket=_TRADE.ticket,
    market_ms=_AT + 30 * _MINUTE,
    summary="Stop tightened from 3795.95 to 3788.40.",
    details={"action": "tighten_stop", "success": True, "ending": "done", "stop": 3788.4, "old_stop": 3795.95},
    symbol=_TRADE.symbol,
    correlation_id=_CORRELATION,
    id=18,
)
_HEALTH: Final = Health(
    step=Step.READY,
    recovered=True,
    ready=True,
    monitoring_active=True,
    active_trades=1,
    broker_connected=True,
    store_ok=True,
    reasons=(),
    failure=None,
)
_STATUS: Final = Status(
    uptime_s=5400.0,
    market_ms=_AT + 31 * _MINUTE,
    active_trades=1,
    trades_by_state={"WARNING_L1": 1},
    fast_checks=180,
    deep_checks=7,
    actions_executed=1,
    transitions=1,
    last_check_ms=_AT + 31 * _MINUTE,
    mode=Mode.AUTO,
    halted=False,
    halt_reason=None,
    rails={"daily_loss": {"blocks": False, "percent": 0.4, "limit_percent": 2.0}},
    intents_unknown=1,
    account={"login": 5001, "server": "Demo", "currency": "USD", "margin_mode": "hedging", "hedging_possible": True},
    warnings=("No economic calendar: the news rail is inactive.",),
    unknown_intents=(
        UnknownIntent(
            number=77, ticket=123456789, kind="open_hedge", state="UNKNOWN", age_s=12.0, reason="no answer in 30 s"
        ),
    ),
    pending=(Pending(ticket=42, since_ms=_AT, until_ms=_AT + _MINUTE),),
    parts={"store": {"ok": True, "state": "ok"}},
)
_MONITORING: Final = Monitoring(
    alive=True,
    age_s=0.4,
    interval_s=30.0,
    last_start_ms=_AT + 31 * _MINUTE,
    last_duration_s=0.021,
    last_outcome="ok",
    cycles=180,
    overruns=0,
    restarts_last_hour=0,
    stale_symbols={},
)


_PENDING: Final = Pending(ticket=123456789, since_ms=_AT, until_ms=_AT + _MINUTE)


def _accepted(index: int, result: Registered | Pending) -> dict[str, Json]:
    return {"index": index, "status": 202 if isinstance(result, Pending) else 200, **accepted_view(result)}


def _refused(index: int) -> dict[str, Json]:
    view = refused_view("position_not_found", "The broker has no position 42.", {"index": index, "ticket": 42})
    return {"index": index, "status": 404, **view}


def _live() -> Live:
    return Live(
        trade=_TRADE,
        price=3782.4,
        profit=-49.3,
        score=-3.8,
        view=None,
        last_fast_ms=_AT + 31 * _MINUTE,
        last_deep_ms=_AT + 30 * _MINUTE,
        flat_left_min=None,
        recovery_left_min=None,
        held=None,
    )


@cache
def examples() -> dict[str, Any]:
    """Return an example answer by path, and an example request by path and the word ``request``."""
    record = Record(transitions=(_TRANSITION,), scores=((_AT + 30 * _MINUTE, -3.8),), breakdown=_BODY)
    trade = trade_view(_TRADE, _live(), record, Surroundings(mode=Mode.AUTO, halted=False))
    status = status_view(_STATUS, _HEALTH)
    controls = {"success": True, "halted": False, "mode": "auto", "error": None}
    one = "/dtms/trade/{ticket}"
    done = Registered(trade=_TRADE, already_registered=False, adjusted={})
    return {
        "/dtms/trade/enable request": {
            "ticket": 123456789,
            "symbol": "XAUUSD",
            "direction": "SELL",
            "entry": 3777.47,
            "volume": 0.1,
            "stop_loss": 3795.95,
            "take_profit": None,
        },
        "/dtms/trade/enable form": {"ticket": "123456789", "direction": "SELL", "stop_loss": "3795.95"},
        "/dtms/trade/enable": registered_view(done),
        "/dtms/trade/enable 202": pending_view(_PENDING),
        "/dtms/trades/enable request": {"trades": [{"ticket": 123456789}, {"ticket": 42}]},
        "/dtms/trades/enable": batch_view([_accepted(0, done)]),
        "/dtms/trades/enable 202": batch_view([_accepted(0, _PENDING)]),
        "/dtms/trades/enable 207": batch_view([_accepted(0, done), _refused(1)]),
        f"{one}/disable request": {"close_hedge": False},
        f"{one}/disable": disabled_view(_TRADE),
        one: trade,
        "/dtms/trades": {"success": True, "summary": "1 trade.", "trades": [trade], "next_cursor": None},
        f"{one}/history": history_view(
            _TRADE, Page(facts=(_TRANSITION, _ACTION), evaluations=(_evaluation(),), truncated=False), stale=False
        ),
        f"{one}/explain": explain_view(_explained(), stale=False),
        "/dtms/actions": actions_view((_ACTION,), 1, None, stale=False),
        "/health": liveness_view(_HEALTH, _AT),
        "/dtms/health": readiness_view(_HEALTH, _AT),
        "/dtms/monitoring/health": monitoring_view(_MONITORING, _AT),
        "/dtms/status": status,
        "/dtms/initialize": status,
        "/dtms/initialize request": {},
        "/dtms/engine": engine_view(_MONITORING, [_live()], stale=False),
        "/dtms/halt request": {"reason": "news"},
        "/dtms/halt": {**controls, "halted": True, "summary": "All actions are stopped until resumed by hand."},
        "/dtms/resume request": {},
        "/dtms/resume": {**controls, "summary": "The kill switch is off; actions are possible again."},
        "/dtms/mode request": {"mode": "auto"},
        "/dtms/mode": {**controls, "summary": "The account is in auto mode."},
        "/dtms/config/reload request": {},
        "/dtms/config/reload": {
            "success": True,
            "summary": "1 settings changed. A restart is needed for api.port.",
            "changes": {"protection.warn_l1": {"old": -3.5, "new": -4.0}},
            "needs_restart": {"api.port": {"old": 8001, "new": 8011}},
        },
    }


def _evaluation() -> Evaluation:
    return Evaluation(
        symbol="XAUUSD", direction="SELL", bar_ms=_AT + 30 * _MINUTE, score=-3.8, regime="London", body=_BODY
    )


def _explained() -> Explained:
    thresholds = {"warn_l1": -3.5, "warn_l1_exit": 0.0, "warn_l2": -5.5, "hedge_at": -7.0, "recovered_at": 1.0}
    return Explained(
        trade=_TRADE,
        at_ms=_AT + 30 * _MINUTE,
        state="WARNING_L1",
        bar_ms=_AT + 30 * _MINUTE,
        body=_BODY,
        thresholds=thresholds,
        past=True,
    )


def error_example(status: int) -> dict[str, Json]:
    """Return the envelope of a status."""
    code = next((c for c, s in STATUS.items() if s == status), ErrorCode.INVALID_REQUEST)
    details: dict[str, Json] = {"ticket": 42} if status == 404 else {}
    message = "Ticket 42 is not registered." if status == 404 else f"An example of {code.value}."
    code = ErrorCode.TRADE_NOT_FOUND if status == 404 else code
    return envelope(Problem(code, message, details), _CORRELATION)

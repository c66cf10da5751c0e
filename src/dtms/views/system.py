"""The system as a whole: health, the monitoring loop, status, the engine's checks, and what was done."""

from collections.abc import Iterable, Sequence

from dtms.domain.facts import Fact, Json
from dtms.execute.service import Health, Live, Monitoring, Status, Step, UnknownIntent
from dtms.views.moments import epoch_s, rfc3339, rfc3339_or_none, span
from dtms.views.registering import pending_words


def liveness_view(health: Health, now_ms: int) -> dict[str, Json]:
    """Show ``/health``; the caller answers 503 unless ``status`` is healthy."""
    status = "healthy" if health.ready else "degraded" if health.recovered and health.failure is None else "unhealthy"
    return {
        "status": status,
        "dtms_initialized": health.recovered,
        "dtms_available": health.ready,
        "step": health.step.value,
        "timestamp": rfc3339(now_ms),
    }


def readiness_view(health: Health, now_ms: int) -> dict[str, Json]:
    """Show ``/dtms/health``."""
    return {
        "dtms_initialized": health.recovered,
        "monitoring_active": health.monitoring_active,
        "active_trades": health.active_trades,
        "ready": health.ready,
        "broker_connected": health.broker_connected,
        "store_ok": health.store_ok,
        "reasons": list(health.reasons),
        "step": health.step.value,
        "failure": health.failure,
        "timestamp": rfc3339(now_ms),
    }


def why_not_ready(health: Health) -> str:
    """Say in one sentence why the engine is not ready."""
    if health.failure is not None:
        return f"Initialisation failed: {health.failure}"
    words = {
        Step.CONFIGURATION: "DTMS is starting",
        Step.STORE: "DTMS is starting: the store is being opened",
        Step.BROKER: "DTMS is starting: waiting for the broker",
        Step.RECOVERY: "DTMS is starting: positions and trades are being reconciled",
        Step.MONITORING: "DTMS is starting: the first cycle is running",
        Step.STOPPING: "DTMS is stopping",
    }.get(health.step)
    if words is not None:
        return f"{words}."
    return f"DTMS is not ready: {'; '.join(health.reasons)}." if health.reasons else "DTMS is not ready."


def is_late(monitoring: Monitoring) -> bool:
    """Whether the loop is dead or later than 3 intervals."""
    return not monitoring.alive or monitoring.age_s > 3 * monitoring.interval_s


def monitoring_view(monitoring: Monitoring, now_ms: int) -> dict[str, Json]:
    """Show ``/dtms/monitoring/health``."""
    late = is_late(monitoring)
    return {
        "status": "unhealthy" if late else "healthy",
        "alive": monitoring.alive,
        "loop_age_s": monitoring.age_s,
        "interval_s": monitoring.interval_s,
        "last_cycle": {
            "started_at": rfc3339_or_none(monitoring.last_start_ms),
            "started_epoch": epoch_s(monitoring.last_start_ms),
            "duration_s": monitoring.last_duration_s,
            "outcome": monitoring.last_outcome,
        },
        "cycles": monitoring.cycles,
        "overruns": monitoring.overruns,
        "restarts_last_hour": monitoring.restarts_last_hour,
        "stale_symbols": dict(monitoring.stale_symbols),
        "timestamp": rfc3339(now_ms),
    }


def status_view(status: Status, health: Health) -> dict[str, Json]:
    """Show ``/dtms/status``."""
    return {
        "success": True,
        "summary": status_words(status, health),
        "dtms_status": _status(status, health),
        "stale": not health.ready,
        "error": None,
    }


def status_words(status: Status, health: Health) -> str:
    """Say in two or three sentences how the system stands."""
    trades = "1 trade" if status.active_trades == 1 else f"{status.active_trades} trades"
    by_state = ", ".join(f"{count} {state}" for state, count in status.trades_by_state.items() if count)
    first = f"DTMS is {'ready' if health.ready else 'not ready'} in {status.mode} mode, up {span(status.uptime_s)}."
    second = f"It watches {trades}{f' ({by_state})' if by_state else ''}."
    halted = f" The kill switch is on: {status.halt_reason or 'no reason given'}." if status.halted else ""
    return f"{first} {second}{halted}"


def _status(status: Status, health: Health) -> dict[str, Json]:
    return {
        "system_active": health.ready and health.monitoring_active,
        "ready": health.ready,
        "uptime": status.uptime_s,
        "uptime_text": span(status.uptime_s),
        "active_trades": status.active_trades,
        "trades_by_state": dict(status.trades_by_state),
        "performance": {
            "fast_checks_total": status.fast_checks,
            "deep_checks_total": status.deep_checks,
            "actions_executed": status.actions_executed,
            "state_transitions": status.transitions,
            "fast_checks_per_hour": _per_hour(status.fast_checks, status.uptime_s),
            "deep_checks_per_hour": _per_hour(status.deep_checks, status.uptime_s),
        },
        "last_check": rfc3339_or_none(status.last_check_ms),
        "last_check_epoch": epoch_s(status.last_check_ms),
        "market_time": rfc3339_or_none(status.market_ms),
        "mode": status.mode.value,
        "halted": status.halted,
        "halt_reason": status.halt_reason,
        "rails": dict(status.rails),
        "intents_unknown": status.intents_unknown,
        "unknown_intents": [_intent(intent) for intent in status.unknown_intents],
        "pending_registrations": [pending_words(pending) for pending in status.pending],
        "account": dict(status.account),
        "warnings": list(status.warnings),
        **status.parts,
    }


def _intent(intent: UnknownIntent) -> dict[str, Json]:
    """Show a request to the broker whose outcome nobody can tell yet, and what is known of it."""
    return {
        "intent": intent.number,
        "ticket": intent.ticket,
        "action": intent.kind,
        "state": intent.state,
        "age_s": intent.age_s,
        "reason": intent.reason,
    }


def _per_hour(count: int, uptime_s: float) -> float:
    return count * 3600 / uptime_s if uptime_s > 0 else 0.0


def engine_view(monitoring: Monitoring, lives: Iterable[Live], *, stale: bool) -> dict[str, Json]:
    """Show ``/dtms/engine``: when each trade was looked at, in epoch seconds."""
    trades = list(lives)
    return {
        "success": True,
        "summary": f"Monitoring is {'running' if monitoring.alive else 'not running'} over {len(trades)} trades.",
        "engine_info": {
            "monitoring_active": monitoring.alive,
            "active_trades_count": len(trades),
            "last_fast_check": {str(t.trade.ticket): epoch_s(t.last_fast_ms) for t in trades if t.last_fast_ms},
            "last_deep_check": {str(t.trade.ticket): epoch_s(t.last_deep_ms) for t in trades if t.last_deep_ms},
        },
        "stale": stale,
        "error": None,
    }


def action_view(fact: Fact) -> dict[str, Json]:
    """Show one action."""
    return {
        "id": fact.id,
        "action_type": fact.details.get("action"),
        "ticket": fact.ticket,
        "symbol": fact.symbol,
        "success": fact.details.get("success"),
        "timestamp": rfc3339(fact.market_ms),
        "summary": fact.summary,
        "details": dict(fact.details),
        "correlation_id": fact.correlation_id,
    }


def actions_view(facts: Sequence[Fact], total: int, next_cursor: int | None, *, stale: bool) -> dict[str, Json]:
    """Show a page of actions, newest last."""
    shown = f"{len(facts)} of {total} actions" if facts else "No actions"
    last = f"; the last one: {facts[-1].summary}" if facts else ""
    return {
        "success": True,
        "summary": f"{shown}{last}{'' if last.endswith('.') else '.'}",
        "action_history": [action_view(fact) for fact in facts],
        "total_actions": total,
        "next_cursor": next_cursor,
        "stale": stale,
        "error": None,
    }

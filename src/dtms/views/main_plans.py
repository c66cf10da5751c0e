"""What the main API shows of auto-execution plans."""

from collections.abc import Mapping, Sequence

from dtms.decide.conditions import catalogue
from dtms.decide.plans import Cancel, Due, Expire, Judgement, Waits
from dtms.domain.facts import Json
from dtms.domain.plans import Plan
from dtms.execute.planning.seen import PlanSeen, PlansStatus
from dtms.views.moments import epoch_s, rfc3339, rfc3339_or_none

LATE = 3
"""After so many intervals without a look the loop counts as dead."""


def plan_json(plan: Plan) -> dict[str, Json]:
    """Show one plan."""
    return {
        "id": plan.id,
        "status": plan.status.value,
        "reason": plan.reason,
        "symbol": plan.symbol,
        "direction": plan.side.direction,
        "order_type": plan.order_type.value,
        "entry": plan.entry,
        "entry_levels": list(plan.entry_levels),
        "tolerance": plan.tolerance,
        "stop_loss": plan.stop,
        "take_profit": plan.target,
        "volume": None if plan.volume is None else float(plan.volume),
        "risk_pct": plan.risk_pct,
        "strategy_type": plan.strategy_type,
        "conditions": dict(plan.conditions),
        "relies_on": dict(plan.relies_on),
        "bracket_id": plan.bracket_id,
        "notes": plan.notes,
        "created_by": plan.created_by,
        "created_at": rfc3339(plan.created_ms),
        "created_epoch": epoch_s(plan.created_ms),
        "created_price": plan.created_price,
        "expires_at": rfc3339(plan.expires_ms),
        "status_since": rfc3339_or_none(plan.status_ms),
        "proposed": plan.proposed,
        "intent": plan.intent,
        "order_id": plan.order,
        "ticket": plan.ticket,
        "fill_price": plan.fill_price,
        "version": plan.version,
    }


def _words(plan: Plan) -> str:
    size = f"{plan.volume} lots" if plan.volume is not None else f"{plan.risk_pct:g} % of the equity"
    return f"Plan {plan.id}: {plan.side.direction} {plan.symbol} {size} at {plan.entry:.10g} is {plan.status.value}."


def made_view(plan: Plan) -> dict[str, Json]:
    """Show a plan that was made, changed or taken back."""
    return {"success": True, "summary": _words(plan), "plan": plan_json(plan), "error": None}


def plans_view(plans: Sequence[Plan]) -> dict[str, Json]:
    """Show plans, oldest first."""
    return {
        "success": True,
        "summary": f"{len(plans)} plans.",
        "plans": [plan_json(plan) for plan in plans],
        "error": None,
    }


def plan_view(seen: PlanSeen) -> dict[str, Json]:
    """Show a plan with every condition, its present value, and what that comes to."""
    judged = seen.judged
    verdict = judged.verdict if isinstance(judged, Due | Waits) else None
    tick = seen.facts.tick if seen.facts is not None else None
    told = f" {judged.reason[:1].upper()}{judged.reason[1:]}." if judged is not None else ""
    return {
        **made_view(seen.plan),
        "summary": f"{_words(seen.plan)}{told}",
        "now": {
            "verdict": None if judged is None else _WORDS[type(judged)],
            "reason": None if judged is None else judged.reason,
            "conditions": None if verdict is None else verdict.as_json(),
            "bid": None if tick is None else tick.bid,
            "ask": None if tick is None else tick.ask,
            "stale": None if seen.facts is None else seen.facts.stale,
        },
    }


_WORDS: Mapping[type[Judgement], str] = {Due: "due", Waits: "waits", Cancel: "cancels", Expire: "expires"}


def batch_view(results: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Show what each plan of a batch came to."""
    good = sum(result.get("success") is True for result in results)
    return {
        "success": good == len(results),
        "summary": f"{good} of {len(results)} plans were made.",
        "results": list(results),
        "error": None,
    }


def status_view(status: PlansStatus) -> dict[str, Json]:
    """Show how plans stand as a whole."""
    waiting = status.by_status.get("pending", 0)
    running = status.age_s is not None and status.age_s <= LATE * status.check_s
    halted = " Trading is halted: nothing fires." if status.halted else ""
    mode = status.mode.value if status.mode is not None else None
    return {
        "success": True,
        "summary": f"{waiting} plans wait, {sum(status.by_status.values())} are open.{halted}",
        "plans": {**status.by_status},
        "running": running,
        "halted": status.halted,
        "mode": mode,
        "loop_age_s": status.age_s,
        "check_s": status.check_s,
        "last_round_at": rfc3339_or_none(status.last_round_ms),
        "rounds": status.rounds,
        "judged": status.judged,
        "held": {**status.held},
        "stale_symbols": {**status.stale},
        "unreadable": {**status.unreadable},
        "waiting_max": status.waiting_max,
        "error": None,
    }


def conditions_view() -> dict[str, Json]:
    """Show every condition that a plan can wait for."""
    known = catalogue()
    return {"success": True, "summary": f"{len(known)} conditions.", "conditions": known, "error": None}

"""What becomes of a plan when its request ended, and of the plans that its bracket leaves behind: pure."""

from collections.abc import Sequence
from dataclasses import replace

from dtms.decide.plans_status import losers, moved
from dtms.domain.actions import Ending, Intent, IntentState, Outcome
from dtms.domain.plans import OrderType, Plan, PlanStatus
from dtms.domain.position import Deal, Position
from dtms.execute.trading.endings import is_requoted

NOT_DONE = frozenset({IntentState.REFUSED, IntentState.NOT_EXECUTED})


def begun(plan: Plan, number: int, now_ms: int, reason: str) -> Plan:
    """Return the plan as it is committed with its intent."""
    return moved(plan, PlanStatus.EXECUTING, now_ms, reason, intent=number, proposed=False)


def ended(plan: Plan, intent: Intent, outcome: Outcome, positions: Sequence[Position], now_ms: int) -> Plan | None:
    """Return the plan as it is committed with its intent's outcome; None while nobody can say what that is.

    What waits for its cause to end waits on; what the broker refused for good has failed.
    """
    if outcome.ending is Ending.UNKNOWN:
        return None
    if outcome.ending is Ending.DONE:
        return done(plan, intent, positions, now_ms)
    if outcome.wait or is_requoted(outcome):
        return again(plan, outcome.reason, now_ms)
    return moved(plan, PlanStatus.FAILED, now_ms, outcome.reason)


def done(plan: Plan, intent: Intent, positions: Sequence[Position], now_ms: int) -> Plan:
    """Return the plan whose request was carried out."""
    if positions:
        return filled(plan, positions[0], now_ms, intent.price)
    if plan.order_type is OrderType.MARKET:
        return moved(plan, PlanStatus.EXECUTED, now_ms, "it was executed", order=intent.order, fill_price=intent.price)
    told = f"its order {intent.order} rests at {plan.entry:.10g}"
    return moved(plan, PlanStatus.PENDING_ORDER_PLACED, now_ms, told, order=intent.order)


def filled(plan: Plan, position: Position, now_ms: int, price: float | None = None) -> Plan:
    """Return the plan whose position is there; the ticket is the position's lasting one."""
    told = f"position {position.ticket} was opened at {price or position.entry:.10g}"
    found = {"ticket": position.identifier, "fill_price": price or position.entry}
    return moved(plan, PlanStatus.EXECUTED, now_ms, told, **found)


def again(plan: Plan, why: str, now_ms: int) -> Plan:
    """Return the plan that was certainly not executed; it waits on."""
    return moved(plan, PlanStatus.PENDING, now_ms, f"it was not executed: {why}")


def resolved(plan: Plan, intent: Intent, positions: Sequence[Position], now_ms: int) -> Plan | None:
    """Return the plan after its intent became known late; None while that is open."""
    if intent.state.is_open:
        return None
    if intent.state in NOT_DONE:
        return again(plan, intent.message, now_ms)
    return done(plan, intent, positions, now_ms)


def beaten(plan: Plan, plans: Sequence[Plan], now_ms: int) -> tuple[Plan, ...]:
    """Return the plans that ``plan`` keeps from executing, cancelled; those with an order at the broker come later."""
    others = [other for other in plans if other.id != plan.id and other.bracket_id == plan.bracket_id]
    if plan.bracket_id is None or not others:
        return ()
    told = f"plan {plan.id} of the same bracket is {plan.status.value}"
    lost = losers([plan, *others])
    return tuple(moved(o, PlanStatus.CANCELLED, now_ms, told) for o in lost if o.status is PlanStatus.PENDING)


def noted(plan: Plan, reason: str) -> Plan:
    """Return the plan with what holds it up; its status stays."""
    return replace(plan, reason=reason, version=plan.version + 1)


def with_ticket(plan: Plan, deal: Deal | None) -> Plan:
    """Return the executed plan with the position that its deal opened, which may be closed already."""
    return plan if deal is None else replace(plan, ticket=deal.position_id, fill_price=deal.price)

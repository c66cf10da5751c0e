"""How far a plan is: the steps it can take, as one table, and which of a bracket's plans goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dtms.domain.errors import InvariantBroken
from dtms.domain.plans import OrderType, Plan, PlanStatus

STEPS: Mapping[PlanStatus, frozenset[PlanStatus]] = {
    PlanStatus.PENDING: frozenset({PlanStatus.EXECUTING, PlanStatus.CANCELLED, PlanStatus.EXPIRED}),
    PlanStatus.EXECUTING: frozenset(
        {PlanStatus.EXECUTED, PlanStatus.PENDING_ORDER_PLACED, PlanStatus.FAILED, PlanStatus.PENDING}
    ),
    PlanStatus.PENDING_ORDER_PLACED: frozenset(
        {PlanStatus.EXECUTED, PlanStatus.CANCELLED, PlanStatus.EXPIRED, PlanStatus.FAILED}
    ),
    PlanStatus.EXECUTED: frozenset({PlanStatus.CLOSED}),
    PlanStatus.CLOSED: frozenset(),
    PlanStatus.CANCELLED: frozenset(),
    PlanStatus.EXPIRED: frozenset(),
    PlanStatus.FAILED: frozenset(),
}
"""Where each status leads. Back to pending leads only the certainty that nothing was executed: a plan executes once."""


def moved(plan: Plan, to: PlanStatus, now_ms: int, reason: str | None = None, **changes: Any) -> Plan:
    """Return the plan one step further, with the version that follows; ``changes`` are further fields.

    Raises:
        InvariantBroken: for a step that is not in the table.
    """
    if to not in STEPS[plan.status]:
        raise InvariantBroken(f"plan {plan.id} is {plan.status.value}, which cannot become {to.value}")
    return replace(plan, status=to, status_ms=now_ms, reason=reason, version=plan.version + 1, **changes)


def has_won(plan: Plan) -> bool:
    """Answer whether a plan keeps the others of its bracket from executing.

    A market order does from the moment at which it begins. An order that rests at the broker does when it is filled:
    until then both sides of a bracket may rest.
    """
    if plan.status in (PlanStatus.EXECUTED, PlanStatus.CLOSED):
        return True
    return plan.status is PlanStatus.EXECUTING and plan.order_type is OrderType.MARKET


def winner(plan: Plan, others: Sequence[Plan]) -> Plan | None:
    """Return the plan of the same bracket, other than ``plan``, that won; the earliest, by time and then by name."""
    if plan.bracket_id is None:
        return None
    won = [o for o in others if o.bracket_id == plan.bracket_id and o.id != plan.id and has_won(o)]
    return min(won, key=lambda o: (o.status_ms, o.id), default=None)


def losers(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return the plans that another one of their bracket has beaten, and that have to be cancelled."""
    waiting = (PlanStatus.PENDING, PlanStatus.PENDING_ORDER_PLACED)
    return tuple(plan for plan in plans if plan.status in waiting and winner(plan, plans) is not None)

"""Auto-execution plans: made, listed, explained, changed while they wait, and taken back."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from dtms.decide.plans_drafts import Draft
from dtms.domain.facts import Json
from dtms.domain.plans import Plan, PlanStatus
from dtms.execute.planning.service import Made, Plans
from dtms.execute.trading.service import TradingRefused
from dtms.main_api.bodies_managers import PlanBatch, PlanChange, PlanRequest
from dtms.server.access import of_validation, read_body
from dtms.server.answers import JsonAnswer, Problem
from dtms.server.batches import batch_answer
from dtms.server.correlation import correlation_id
from dtms.server.errors import invalid, problem_of_refusal
from dtms.server.idempotency import receipt
from dtms.server.params import LimitQuery, SymbolQuery
from dtms.views.main_plans import batch_view, conditions_view, made_view, plan_view, plans_view, status_view

LISTED: Final = 200
_PLAN: Final = TypeAdapter(PlanRequest)
_CHANGE: Final = TypeAdapter(PlanChange)
_BATCH: Final = TypeAdapter(PlanBatch)
PlanPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
StatusQuery = Annotated[str | None, Query(description="One status, several separated by commas, or any.")]


def statuses_of(text: str | None) -> frozenset[PlanStatus] | None:
    """Read ``status=``: None is those that something can still come of.

    Raises:
        Problem: 422 for an unknown status.
    """
    if not text:
        return None
    if text.strip().lower() == "any":
        return frozenset(PlanStatus)
    names = [part.strip().lower() for part in text.split(",")]
    known = {status.value: status for status in PlanStatus}
    if unknown := [name for name in names if name not in known]:
        told = f"must be any, or of {', '.join(known)}; not {unknown[0][:32]}"
        raise invalid([{"loc": ("query", "status"), "msg": told, "type": "enum"}])
    return frozenset(known[name] for name in names)


class PlanRoutes:
    """The routes of plans."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    async def create_plan(self, request: Request) -> Response:
        """Make a plan that waits for its conditions, and then executes once."""
        body = await read_body(request, _PLAN)
        plan = await self._plans.create(body.draft(correlation_id(request)), receipt(request, _made))
        return JsonAnswer(made_view(plan))

    async def create_plans(self, request: Request) -> Response:
        """Make up to 100 plans in one commit; each is judged by itself."""
        body = await read_body(request, _BATCH)
        judged = [_judged(item, correlation_id(request)) for item in body.plans]
        asked = [one for one in judged if isinstance(one, Draft)]

        def done(made: Sequence[Made]) -> Response | None:
            return _batch(judged, made) if any(isinstance(one, Plan) for one in made) else None

        made = await self._plans.create_all(asked, receipt(request, done)) if asked else ()
        return _batch(judged, made)

    async def list_plans(
        self, status: StatusQuery = None, symbol: SymbolQuery = None, limit: LimitQuery = None
    ) -> Response:
        """List plans, oldest first."""
        found = await self._plans.list(statuses_of(status), symbol=symbol, limit=limit or LISTED)
        return JsonAnswer(plans_view(found))

    async def plan(self, plan_id: PlanPath) -> Response:
        """Show a plan, with every condition and its present value."""
        return JsonAnswer(plan_view(await self._plans.get(plan_id)))

    async def change_plan(self, request: Request, plan_id: PlanPath) -> Response:
        """Change a plan while it waits; fields that are not named stay."""
        body = await read_body(request, _CHANGE)
        return JsonAnswer(made_view(await self._plans.change(plan_id, body.changed, receipt(request, made_answer))))

    async def cancel_plan(self, request: Request, plan_id: PlanPath) -> Response:
        """Take a plan back, with its order if one rests at the broker."""
        return JsonAnswer(made_view(await self._plans.cancel(plan_id, correlation_id(request))))

    async def plans_status(self) -> Response:
        """Show how plans stand as a whole, and whether they are looked at."""
        return JsonAnswer(status_view(await self._plans.status()))

    async def plan_conditions(self) -> Response:
        """Show every condition that a plan can wait for, with its parameters."""
        return JsonAnswer(conditions_view())


def made_answer(plan: Plan) -> Response:
    return JsonAnswer(made_view(plan))


def _made(made: Sequence[Made]) -> Response | None:
    (one,) = made
    return made_answer(one) if isinstance(one, Plan) else None


def _judged(item: Any, correlation: str) -> Draft | Problem:
    try:
        return _PLAN.validate_python(item).draft(correlation)
    except ValidationError as error:
        return of_validation(error)


def _batch(judged: Sequence[Draft | Problem], made: Sequence[Made]) -> JsonAnswer:
    """Answer a batch.

    Raises:
        Problem: when every plan was refused with the same status, which is then that of the whole.
    """
    given = iter(made)
    items = [_item(index, one if isinstance(one, Problem) else next(given)) for index, one in enumerate(judged)]
    return batch_answer(items, batch_view(items), f"None of {len(items)} plans was made")


def _item(index: int, made: Made | Problem) -> dict[str, Json]:
    if isinstance(made, TradingRefused):
        made = problem_of_refusal(made)
    if isinstance(made, Plan):
        return {"index": index, "status": 200, **made_view(made)}
    refused: dict[str, Json] = {"success": False, "error": made.code.value, "message": made.message}
    return {"index": index, "status": made.status, **refused, "details": made.details}

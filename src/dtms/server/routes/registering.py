"""Register trades, one or many, and end their monitoring."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import HTTPException, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from dtms.domain.facts import Json
from dtms.domain.trade import Trade
from dtms.execute.service import Pending, Refused, Registered, Registration, Result
from dtms.server.access import of_validation, read_body
from dtms.server.answers import JsonAnswer, Problem
from dtms.server.batches import batch_answer
from dtms.server.correlation import correlation_id
from dtms.server.errors import problem_of_refusal
from dtms.server.idempotency import receipt
from dtms.server.params import TicketPath
from dtms.server.routes.deps import Deps
from dtms.views.registering import accepted_view, batch_view, disabled_view, pending_view, refused_view, registered_view
from dtms.wire import BatchRequest, DisableRequest, EnableRequest

_ENABLE: Final = TypeAdapter(EnableRequest)
_BATCH: Final = TypeAdapter(BatchRequest)
_DISABLE: Final = TypeAdapter(DisableRequest)

Judged = Registration | Problem
"""One registration of a batch as it was read: in the engine's words, or why it breaks the rules."""


class RegisteringRoutes:
    """The routes by which trades come under defence and leave it."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def enable(self, request: Request) -> Response:
        """Register one trade for protection; idempotent."""
        body = await read_body(request, _ENABLE)
        asked = [body.registration(correlation_id(request))]
        (result,) = await self._deps.service.register_all(asked, receipt(request, _single_of))
        if isinstance(result, Refused):
            raise result
        return _single(result)

    async def enable_all(self, request: Request) -> Response:
        """Register up to 500 trades with one look at the broker and one commit; each is judged by itself."""
        body = await read_body(request, _BATCH)
        judged = [_judged(item, correlation_id(request)) for item in body.trades]
        asked = [one for one in judged if isinstance(one, Registration)]

        def done(results: Sequence[Result]) -> Response | None:
            return None if all(isinstance(r, Refused) for r in results) else _batch(judged, results)

        results = await self._deps.service.register_all(asked, receipt(request, done)) if asked else ()
        return _batch(judged, results)

    async def posted_only(self) -> Response:
        """Refuse to read what can only be posted; without this the path would be read as a ticket's."""
        raise HTTPException(405, headers={"Allow": "POST"})

    async def disable(self, request: Request, ticket: TicketPath) -> Response:
        """Stop monitoring a trade until it is enabled again; idempotent."""
        body = await read_body(request, _DISABLE)
        trade = await self._deps.service.disable(
            ticket,
            close_hedge=body.close_hedge,
            correlation_id=correlation_id(request),
            receipt=receipt(request, _disabled),
        )
        return _disabled(trade)


def _single_of(results: Sequence[Result]) -> Response | None:
    (result,) = results
    return None if isinstance(result, Refused) else _single(result)


def _single(result: Registered | Pending) -> JsonAnswer:
    if isinstance(result, Pending):
        return JsonAnswer(pending_view(result), status_code=202)
    return JsonAnswer(registered_view(result))


def _disabled(trade: Trade) -> JsonAnswer:
    return JsonAnswer(disabled_view(trade))


def _judged(item: Any, correlation: str) -> Judged:
    try:
        return _ENABLE.validate_python(item).registration(correlation)
    except ValidationError as error:
        return of_validation(error)


def _batch(judged: Sequence[Judged], results: Sequence[Result]) -> JsonAnswer:
    """Answer a batch.

    Raises:
        Problem: when every registration was refused with the same status, which is then that of the whole.
    """
    given = iter(results)
    items = [_item(index, one if isinstance(one, Problem) else next(given)) for index, one in enumerate(judged)]
    return batch_answer(items, batch_view(items), f"None of {len(items)} registrations was accepted")


def _item(index: int, result: Result | Problem) -> dict[str, Json]:
    if isinstance(result, Refused):
        result = problem_of_refusal(result)
    if isinstance(result, Problem):
        details = {"index": index, **result.details}
        status, view = result.status, refused_view(result.code.value, result.message, details)
    else:
        status, view = 202 if isinstance(result, Pending) else 200, accepted_view(result)
    return {"index": index, "status": status, **view}

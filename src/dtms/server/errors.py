"""One envelope for every refusal: what the routes, the engine, the framework and the store can raise, as a table."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dtms.domain.errors import BrokerUnavailable, LeaseHeld, Misconfigured, PeerAway, PermissionGone, StoreFailed
from dtms.domain.facts import Json
from dtms.execute.service import Refused
from dtms.execute.trading.service import TradingRefused
from dtms.server.answers import ErrorCode, Problem, problem_answer
from dtms.server.behind import Behind
from dtms.server.correlation import correlation_id

_HTTP_CODES: Final[Mapping[int, tuple[ErrorCode, str]]] = {
    400: (ErrorCode.INVALID_REQUEST, "The request could not be read."),
    403: (ErrorCode.FORBIDDEN, "This is not allowed."),
    404: (ErrorCode.NOT_FOUND, "There is nothing at this path."),
    405: (ErrorCode.METHOD_NOT_ALLOWED, "This path does not answer this method."),
    413: (ErrorCode.TOO_LARGE, "The body is too large."),
    415: (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON."),
}

_log = structlog.get_logger("dtms.server")


def invalid(errors: Iterable[Mapping[str, Any]], *, status: int = 422) -> Problem:
    """Turn validation errors into one problem with an entry per field; values are not repeated."""
    fields: list[Json] = [
        {"field": _field(error["loc"]), "message": _words(str(error["msg"])), "rule": str(error["type"])}
        for error in errors
    ]
    first = fields[0] if fields else None
    message = f"{first['field']}: {first['message']}." if isinstance(first, dict) else "The request is invalid."
    return Problem(ErrorCode.INVALID_REQUEST, message, {"fields": fields}, status=status)


def _field(location: Iterable[int | str]) -> str:
    parts = [str(part) for part in location if part not in ("body", "query", "path")]
    return ".".join(parts) or "body"


def _words(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _of_http(error: HTTPException) -> Problem:
    code, message = _HTTP_CODES.get(error.status_code, (ErrorCode.INVALID_REQUEST, "The request was refused."))
    return Problem(code, message, status=error.status_code)


def problem_of_refusal(error: Refused | TradingRefused) -> Problem:
    return Problem(ErrorCode(error.code.value), error.message, error.details)


def _of_store(_: StoreFailed) -> Problem:
    return Problem(ErrorCode.NOT_READY, "The store does not answer; nothing was changed.")


def _of_broker(_: BrokerUnavailable) -> Problem:
    return Problem(ErrorCode.NOT_READY, "The broker does not answer; nothing was changed.")


def _of_lease(error: LeaseHeld) -> Problem:
    details: dict[str, Json] = {"key": error.key, "holder": error.holder}
    return Problem(ErrorCode.LEASE_HELD, f"Another holds the lease {error.key}; nothing was changed.", details)


_TRANSLATIONS: Final[Mapping[type[Exception], Callable[[Any], Problem]]] = {
    Problem: lambda error: error,
    Refused: problem_of_refusal,
    TradingRefused: problem_of_refusal,
    RequestValidationError: lambda error: invalid(error.errors()),
    HTTPException: _of_http,
    StoreFailed: _of_store,
    BrokerUnavailable: _of_broker,
    LeaseHeld: _of_lease,
    PeerAway: lambda error: Problem(ErrorCode.DTMS_UNAVAILABLE, f"{error}."),
    PermissionGone: lambda _: Problem(ErrorCode.NOT_READY, "Another program holds the authority over the store."),
    Misconfigured: lambda error: Problem(ErrorCode.INVALID_REQUEST, str(error)),
    # What nobody expected. Its traceback goes to the log; the answer says nothing of the inside.
    Exception: lambda _: Problem(ErrorCode.INTERNAL, "Something went wrong inside; the log has the details."),
}


def problem_of(error: Exception) -> Problem | None:
    """Return what an error is answered with; None for one that nobody expected."""
    kind = next((kind for kind in type(error).__mro__[:-2] if kind in _TRANSLATIONS and kind is not Exception), None)
    return _TRANSLATIONS[kind](error) if kind is not None else None


def install(app: FastAPI, program: Behind) -> None:
    """Answer everything that can be raised with the envelope, and tell the engine of a store that failed."""
    for raised, translate in _TRANSLATIONS.items():
        app.add_exception_handler(raised, _handler(translate, program))


def _handler(
    translate: Callable[[Any], Problem], program: Behind
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, StoreFailed):
            program.note_store_failure(error)
        problem = translate(error)
        # Whoever waits for readiness asks again and again; that is no news.
        tell = _log.debug if problem.code is ErrorCode.NOT_READY else _log.info
        tell("request_refused", path=request.url.path, status=problem.status, error=problem.code.value)
        headers = error.headers if isinstance(error, HTTPException) and error.headers else {}
        return problem_answer(problem, correlation_id(request), headers)

    return handle

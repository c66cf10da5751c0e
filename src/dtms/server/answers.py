"""Answers: JSON written once by a fast encoder, and the envelope of everything that is not a 2xx."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response

from dtms.domain.facts import Json

RETRY_AFTER_S: Final = "2"


class ErrorCode(StrEnum):
    """The API's error codes, and those of the framework's own refusals."""

    INVALID_REQUEST = "invalid_request"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TRADE_NOT_FOUND = "trade_not_found"
    POSITION_NOT_FOUND = "position_not_found"
    OWNED = "owned_by_other_manager"
    CONFLICT = "conflict"
    LEASE_HELD = "lease_held"
    BROKER_REFUSED = "broker_refused"
    DTMS_UNAVAILABLE = "dtms_unavailable"
    NOT_READY = "not_ready"
    HALTED = "halted"
    INTERNAL = "internal_error"
    INITIALIZATION_FAILED = "initialization_failed"


STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.INVALID_REQUEST: 422,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.TRADE_NOT_FOUND: 404,
    ErrorCode.POSITION_NOT_FOUND: 404,
    ErrorCode.OWNED: 409,
    ErrorCode.CONFLICT: 409,
    ErrorCode.LEASE_HELD: 409,
    ErrorCode.BROKER_REFUSED: 400,
    ErrorCode.DTMS_UNAVAILABLE: 503,
    ErrorCode.NOT_READY: 503,
    ErrorCode.HALTED: 503,
    ErrorCode.INTERNAL: 500,
    ErrorCode.INITIALIZATION_FAILED: 500,
}


class JsonAnswer(Response):
    """A JSON body; a figure that is not a number is written as null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="null")


class Problem(Exception):
    """A request that is answered with the envelope."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: Mapping[str, Json] | None = None,
        *,
        status: int | None = None,
        extra: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.status = STATUS[code] if status is None else status
        self.extra = dict(extra or {})
        """Keys beside the envelope's, where a route's failure keeps its own shape (health, batches)."""
        self.headers = dict(headers or {})


def envelope(problem: Problem, correlation_id: str) -> dict[str, Json]:
    return {
        **problem.extra,
        "success": False,
        "error": problem.code.value,
        "message": problem.message,
        "summary": problem.message,
        "details": problem.details,
        "correlation_id": correlation_id,
    }


def problem_answer(
    problem: Problem, correlation_id: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
) -> JsonAnswer:
    """Answer with the envelope."""
    sent = {**problem.headers, **dict(headers)}
    if problem.code in (ErrorCode.NOT_READY, ErrorCode.DTMS_UNAVAILABLE):
        sent["Retry-After"] = RETRY_AFTER_S
    sent["X-Correlation-ID"] = correlation_id
    return JsonAnswer(envelope(problem, correlation_id), status_code=problem.status, headers=sent)

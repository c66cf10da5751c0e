"""When a route answers: always, once recovered, or while ready; and what a state-changing request must look like."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeVar

from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from dtms.execute.service import Health
from dtms.server.answers import ErrorCode, Problem
from dtms.server.behind import Behind
from dtms.server.errors import invalid
from dtms.server.forms import comes_from_a_page, fields_of, is_form
from dtms.server.idempotency import Idempotency
from dtms.views.system import why_not_ready

T = TypeVar("T")


class Access(Enum):
    """What must have happened before a route answers anything but 503."""

    ALWAYS = auto()
    RECOVERED = auto()
    """Reads: before the first recovery there is nothing to trust; later the store answers, marked as stale."""
    READY = auto()
    """Registrations and actions."""


_UNREADABLE: Final = frozenset({"json_invalid", "json_type"})


def admit(health: Health, access: Access) -> None:
    """Let a request in.

    Raises:
        Problem: 503 when it is too early, or when the engine is not ready for it.
    """
    allowed = {Access.ALWAYS: True, Access.RECOVERED: health.recovered, Access.READY: health.recovered and health.ready}
    if not allowed[access]:
        details: dict[str, Any] = {"step": health.step.value, "reasons": list(health.reasons)}
        raise Problem(ErrorCode.NOT_READY, why_not_ready(health), details)


def require_encoding(request: Request, *, forms: bool) -> None:
    """Refuse anything but JSON in UTF-8, also for empty bodies: a plain form of a web page must change nothing.

    With ``forms`` a form is taken as well, unless a browser sent it.
    """
    kind, *parameters = (request.headers.get("content-type") or "").lower().split(";")
    main, _, sub = kind.strip().partition("/")
    is_json = main == "application" and (sub == "json" or sub.endswith("+json"))
    is_taken = is_json or (forms and is_form(request) and not comes_from_a_page(request))
    charsets = [p.partition("=")[2].strip(' "') for p in parameters if p.strip().startswith("charset")]
    if not is_taken or any(charset not in ("utf-8", "utf8") for charset in charsets):
        needed = "application/json" + (", or a form that no web page sent" if forms else "")
        raise Problem(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"A request that changes something needs Content-Type: {needed}."
        )


async def read_body(request: Request, adapter: TypeAdapter[T]) -> T:
    """Read and check a body; an empty one counts as an empty object.

    Raises:
        Problem: 400 for what is not JSON (or a form) in UTF-8, 422 with an entry per field for what breaks a rule.
    """
    raw = await request.body()
    form = fields_of(raw) if is_form(request) else None
    try:
        return adapter.validate_json(raw or b"{}") if form is None else adapter.validate_python(form)
    except ValidationError as error:
        raise of_validation(error) from None


def of_validation(error: ValidationError) -> Problem:
    """Return the problem of a body that breaks its rules."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    unreadable = any(e["type"] in _UNREADABLE for e in errors)
    return invalid([dict(e) for e in errors], status=400 if unreadable else 422)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a request passes before its route: the engine's readiness, and the answers that were given before."""

    program: Behind
    idempotency: Idempotency


def guarded(gate: Gate, access: Access, *, changes: bool, forms: bool) -> type[APIRoute]:
    """Make the kind of route that checks access before anything of the request is read."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

            async def checked(request: Request) -> Response:
                if changes:
                    require_encoding(request, forms=forms)
                if access is not Access.ALWAYS:
                    admit(gate.program.health(), access)
                if not changes:
                    return await handle(request)
                # What answers always must do so while the store is away: the kill switch.
                always = access is Access.ALWAYS
                return await gate.idempotency.around(request, handle, whatever_the_store=always)

            return checked

    return Guarded

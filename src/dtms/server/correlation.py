"""Correlation ids: taken from the request when well-formed, made otherwise, in every answer, log line and fact."""

import re
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

HEADER: Final = b"x-correlation-id"
SCOPE_KEY: Final = "dtms.correlation_id"
_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

MakeId = Callable[[], str]


def ulid(at_ms: int, entropy: int) -> str:
    """Write a ULID: 48 bits of UTC milliseconds and 80 bits of entropy, as 26 characters that sort by time."""
    value = (at_ms & (1 << 48) - 1) << 80 | entropy & (1 << 80) - 1
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def id_of(scope: Scope, make_id: MakeId) -> str:
    """Take the request's id when it is well-formed, make one otherwise, and keep it with the request."""
    given = next((value for name, value in scope["headers"] if name == HEADER), None)
    found = given.decode("ascii") if given is not None and _WELL_FORMED.fullmatch(given) else make_id()
    scope[SCOPE_KEY] = found
    return found


def correlation_id(request: Request) -> str:
    """Return the id that the edge gave this request."""
    return str(request.scope.get(SCOPE_KEY, ""))

"""The edge: what every request passes first, before routing. Pure ASGI, and cheap.

It gives the request its correlation id, refuses foreign ``Host`` and ``Origin`` headers (a web page must not be able to
drive a local trading API) and bodies over the limit, and returns the id with every answer.
"""

import re
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtms.server.answers import ErrorCode, Problem, problem_answer
from dtms.server.correlation import HEADER, MakeId, id_of
from dtms.wire import BATCH_BYTES_MAX, BODY_BYTES_MAX

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
LIMITS: Final = {"/dtms/trades/enable": BATCH_BYTES_MAX}
"""Paths that take more than others."""
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::([0-9]{1,5}))?")


class Edge:
    """Wraps the whole application, its error handling included."""

    def __init__(self, app: ASGIApp, *, make_id: MakeId, hosts: frozenset[str] = LOOPBACK) -> None:
        self._app = app
        self._make_id = make_id
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = id_of(scope, self._make_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=found)
        headers = _Headers(scope)
        limit = LIMITS.get(scope["path"], BODY_BYTES_MAX)
        problem = self._foreign(headers) or _too_large(headers, limit)
        if problem is not None:
            await problem_answer(problem, found, {"Connection": "close"})(scope, receive, send)
            return
        limited = _limited(receive, limit) if headers.chunked else receive
        await self._app(scope, limited, _with_id(send, found))

    def _foreign(self, headers: "_Headers") -> Problem | None:
        host = _AUTHORITY.fullmatch(headers.host or "")
        if host is None or (host[1] or host[2]).lower() not in self._hosts:
            return Problem(ErrorCode.FORBIDDEN, "The Host header names another machine than this one.")
        if headers.origin is not None and headers.origin.lower() != f"http://{host[0].lower()}":
            return Problem(ErrorCode.FORBIDDEN, "Pages of another origin may not use this API.")
        return None


class _Headers:
    """The few headers that the edge looks at, read in one pass."""

    __slots__ = ("chunked", "host", "length", "origin")

    def __init__(self, scope: Scope) -> None:
        self.host: str | None = None
        self.origin: str | None = None
        self.length: bytes | None = None
        self.chunked = False
        for name, value in scope["headers"]:
            if name == b"host":
                # A second Host header is a contradiction, and none at all is what it amounts to.
                self.host = value.decode("latin-1") if self.host is None else ""
            elif name == b"origin":
                self.origin = value.decode("latin-1")
            elif name == b"content-length":
                self.length = value
            elif name == b"transfer-encoding":
                self.chunked = True


def _too_large(headers: _Headers, limit: int) -> Problem | None:
    if headers.length is None:
        return None
    if not headers.length.isdigit():
        return Problem(ErrorCode.INVALID_REQUEST, "Content-Length must be a number.", status=400)
    # Compared by digits first: a length of thousands of digits is not worth converting.
    if len(headers.length.lstrip(b"0")) > 7 or int(headers.length) > limit:
        return _over(limit)
    return None


def _over(limit: int) -> Problem:
    return Problem(
        ErrorCode.TOO_LARGE,
        f"The body is larger than {limit // 1024} KiB.",
        {"limit_bytes": limit},
        headers={"Connection": "close"},
    )


def _limited(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _over(limit)
        return message

    return limited


def _with_id(send: Send, found: str) -> Send:
    encoded = found.encode("ascii")

    async def with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            if not any(name == HEADER for name, _ in headers):
                message["headers"] = [*headers, (HEADER, encoded)]
        await send(message)

    return with_id

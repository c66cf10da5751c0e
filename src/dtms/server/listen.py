"""The listening socket, and the HTTP protocol over it."""

import socket
from ipaddress import ip_address
from typing import Any, Final

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dtms.domain.errors import Misconfigured
from dtms.server.answers import ErrorCode, Problem, envelope

_BACKLOG: Final = 1024
_HEAD_BYTES_MAX: Final = 32 * 1024


def refuse_exposed(host: str, section: str = "api") -> None:
    """Refuse to listen beyond this machine.

    Raises:
        Misconfigured: for a host that is not loopback; without API keys anybody could trade.
    """
    if host.lower() == "localhost":
        return
    try:
        is_loopback = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise Misconfigured(
            f"{section}.host = {host}: without API keys only a loopback address is allowed "
            f"(127.0.0.1, ::1, localhost); set DTMS_{section.upper()}_HOST"
        )


def bind(host: str, port: int, section: str = "api") -> socket.socket:
    """Bind and return the listening socket; port 0 takes a free one, ``section`` is where the port is configured.

    Raises:
        Misconfigured: when the port is taken, or the address is not a loopback address of this machine.
    """
    refuse_exposed(host, section)
    family, kind, protocol, _, address = _resolved(host, port)
    bound = socket.socket(family, kind, protocol)
    # On Windows SO_REUSEADDR would let a second server share the port; elsewhere it only skips the wait after a stop.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    bound.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise Misconfigured(
            f"{section}.port = {port}: cannot listen on {host}:{port} ({error.strerror or error}); another server may "
            f"be running there: stop it, or choose another port with DTMS_{section.upper()}_PORT"
        ) from None
    bound.setblocking(False)
    return bound


def _resolved(host: str, port: int) -> tuple[Any, ...]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Misconfigured(f"api.host = {host}: no such address ({error.strerror or error})") from None


class EnvelopeProtocol(HttpToolsProtocol):
    """HTTP/1.1 with the envelope also for what is not valid HTTP and so never reaches the application.

    The parser itself takes a head of any length, so its size is limited here.
    """

    head_bytes = 0

    def on_message_begin(self) -> None:
        """Start counting a new request's head."""
        self.head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._count(name + value)
        super().on_header(name, value)

    def _count(self, piece: bytes) -> None:
        self.head_bytes += len(piece)
        if self.head_bytes > _HEAD_BYTES_MAX:
            # Raised inside the parser, it ends the request as not valid HTTP.
            raise ValueError("the head of the request is too long")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the base class's signature
        """Answer 400 and close."""
        found = str(self.config.app.make_id())  # type: ignore[union-attr]
        problem = Problem(ErrorCode.INVALID_REQUEST, "The request is not valid HTTP.", status=400)
        body = to_json(envelope(problem, found))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-correlation-id: {found}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

"""The gateway's child: one thread that calls the terminal, and one small thread for each client that talks to it.

A client's thread reads, checks and answers its own connection, so a client that stalls, floods or speaks nonsense holds
up nobody but itself; requests of all clients meet in one queue, and only the calling thread takes from it.
"""

import json
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from dtms.terminal.gateway import Gateway
from dtms.terminal.protocol import (
    MESSAGE_BYTES_MAX,
    PORT,
    REQUEST_BYTES_MAX,
    Message,
    Refusal,
    decode,
    encode,
    encode_parts,
)

log = logging.getLogger("dtms.terminal")

# Challenge and answer assert the form of what they read, so nonsense on the line shows as any of these.
_BROKEN = (OSError, EOFError, ValueError, AssertionError, AuthenticationError)
_SHUTDOWN_S = 5.0
STOP = b"stop"


class CannotLoad(Exception):
    """The terminal's module cannot be had here; the message is one line for the operator."""


Load = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """Where to listen, whom to expect, and the limits; everything in it can be handed to another process."""

    host: str = "127.0.0.1"
    port: int = PORT
    secret: str = field(repr=False)
    login: int | None = None
    server: str | None = None
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)
    requests_per_day: int = 2000
    reserve: int = 500
    call_s_max: float = 30.0
    initialize_s_max: float = 90.0
    queued_s_max: float = 5.0
    """A send that waited longer for its turn is not passed on: whoever asked has given it up, or soon will."""
    handshake_s_max: float = 5.0
    clients_max: int = 64


@dataclass(frozen=True, slots=True)
class Work:
    """A client's request, when it came (monotonic seconds), and where its answer goes."""

    request: Message
    received_s: float
    reply: "queue.SimpleQueue[Message]"


Inbox = queue.SimpleQueue[Work | None]


class Watch:
    """Tell the parent, through one shared number, until when the present call may last; 0 while none is made."""

    def __init__(self, deadline: Any, options: ServiceOptions) -> None:
        self._deadline = deadline
        self._options = options

    @contextmanager
    def over(self, request: Message) -> Iterator[None]:
        is_connect = request.get("call") == "connect"
        limit_s = self._options.initialize_s_max if is_connect else self._options.call_s_max
        self._deadline.value = time.monotonic() + limit_s
        try:
            yield
        finally:
            self._deadline.value = 0.0


class Clients:
    """Accept connections and serve each in a thread of its own."""

    def __init__(self, options: ServiceOptions, inbox: Inbox) -> None:
        self._options = options
        self._secret = options.secret.encode()
        self._inbox = inbox
        self._places = threading.BoundedSemaphore(options.clients_max)
        self._listener = socket.create_server((options.host, options.port), backlog=64)

    @property
    def port(self) -> int:
        """The port that was bound, which is the one asked for unless that was 0."""
        return int(self._listener.getsockname()[1])

    def accept_for_ever(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            if not self._places.acquire(blocking=False):
                log.warning("client turned away: %d are connected", self._options.clients_max)
                accepted.close()
                continue
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        # A second handle to the same socket: shutting it down wakes a thread that blocks on the first.
        with accepted.dup() as handle, Connection(accepted.detach()) as connection:
            try:
                self._authenticate(connection, handle)
                self._converse(connection)
            except _BROKEN as broken:
                level = logging.DEBUG if isinstance(broken, EOFError) else logging.INFO  # most just leave
                log.log(level, "client gone: %s", type(broken).__name__)
            finally:
                self._places.release()

    def _authenticate(self, connection: "Connection[Any, Any]", handle: socket.socket) -> None:
        def give_up() -> None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._options.handshake_s_max, give_up)
        timer.daemon = True
        timer.start()
        try:
            deliver_challenge(connection, self._secret)
            answer_challenge(connection, self._secret)
        finally:
            timer.cancel()

    def _converse(self, connection: "Connection[Any, Any]") -> None:
        reply: queue.SimpleQueue[Message] = queue.SimpleQueue()
        while True:
            data = connection.recv_bytes(REQUEST_BYTES_MAX)
            try:
                request = decode(data)
            except ValueError as wrong:
                connection.send_bytes(encode({"refused": Refusal.BAD_REQUEST.value, "message": str(wrong)}))
                continue
            self._inbox.put(Work(request, time.monotonic(), reply))
            for part in _bounded(reply.get()):
                connection.send_bytes(part)


def _bounded(answer: Message) -> list[bytes]:
    parts = encode_parts(answer)
    size = sum(map(len, parts))
    if size <= MESSAGE_BYTES_MAX:
        return parts
    return [encode({"failed": "size", "message": f"the answer has {size} bytes: ask for less", "last_error": [0, ""]})]


def answer_for_ever(gateway: Gateway, inbox: Inbox, watch: Watch, queued_s_max: float) -> None:
    """Take requests one by one and answer them, until None comes."""
    while (work := inbox.get()) is not None:
        waited_s = time.monotonic() - work.received_s
        if work.request.get("call") == "send" and waited_s > queued_s_max:
            work.reply.put({"refused": Refusal.LATE.value, "message": f"waited {waited_s:.1f} s for its turn"})
            continue
        with watch.over(work.request):
            answer = gateway.handle(work.request)
        work.reply.put(answer)


def serve(options: ServiceOptions, load: Load, instance: int, deadline: Any, parent: "Connection[Any, Any]") -> None:
    """Be the child: load the terminal, listen, answer, until the parent says stop or is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _leave_signals_to_parent()
    inbox: Inbox = queue.SimpleQueue()
    watch = Watch(deadline, options)
    try:
        clients = Clients(options, inbox)
        with watch.over({"call": "connect"}):
            gateway = _gateway(options, load(), instance)
    except CannotLoad as reason:
        _tell(parent, {"fatal": str(reason)})
        return
    except OSError as taken:
        _tell(parent, {"fatal": f"cannot listen on {options.host}:{options.port}: {taken}"})
        return
    threading.Thread(target=_follow_parent, args=(parent, inbox), daemon=True).start()
    threading.Thread(target=clients.accept_for_ever, daemon=True).start()
    _connect(gateway, watch)
    _tell(parent, {"ready": clients.port, "instance": instance})
    answer_for_ever(gateway, inbox, watch, options.queued_s_max)
    with watch.over({}):
        gateway.shutdown()


def _gateway(options: ServiceOptions, module: Any, instance: int) -> Gateway:
    return Gateway(
        module,
        instance=instance,
        login=options.login,
        server=options.server,
        requests_per_day=options.requests_per_day,
        reserve=options.reserve,
        credentials=options.credentials,
    )


def _connect(gateway: Gateway, watch: Watch) -> None:
    request = {"call": "connect"}
    with watch.over(request):
        answer = gateway.handle(request)
    if "value" not in answer:  # the terminal may come later; every client's connect tries again
        log.warning("terminal not connected yet: %s", answer["message"])


def _leave_signals_to_parent() -> None:
    """Ignore the console's signals: the parent gets them as well, and ends its child in order."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _follow_parent(parent: "Connection[Any, Any]", inbox: Inbox) -> None:
    """End with the parent: in order when it says so or is gone, at once when the terminal does not let go."""
    with suppress(OSError, EOFError):
        while parent.recv_bytes() != STOP:
            pass
    inbox.put(None)
    time.sleep(_SHUTDOWN_S)
    os._exit(1)


def _tell(parent: "Connection[Any, Any]", message: dict[str, Any]) -> None:
    with suppress(OSError):
        parent.send_bytes(json.dumps(message).encode())

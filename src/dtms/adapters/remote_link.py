"""The link to a gateway in another process: one thread that talks to it, one request at a time."""

import asyncio
import queue
import selectors
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from time import monotonic
from typing import Any

from dtms.adapters.links import Answer
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown
from dtms.terminal.protocol import MESSAGE_BYTES_MAX, decode_parts, encode

_BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError, AssertionError)


@dataclass(frozen=True, slots=True)
class _Job:
    data: bytes
    until_s: float
    answer: "Future[Answer]" = field(default_factory=Future)


class _Line:
    """An authenticated connection, and a second handle that can wake whoever blocks on it."""

    def __init__(self, host: str, port: int, secret: bytes, timeout_s: float) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)
        self._connection: Connection[Any, Any] = Connection(self._socket.dup().detach())
        self._readable = selectors.DefaultSelector()  # kept, because Connection.poll makes a new one each time
        self._readable.register(self._socket, selectors.EVENT_READ)
        try:
            if not self._readable.select(timeout_s):
                raise OSError("it accepts connections and says nothing")
            answer_challenge(self._connection, secret)
            deliver_challenge(self._connection, secret)
        except BaseException:
            self.close()
            raise

    def exchange(self, data: bytes, timeout_s: float) -> Answer:
        """Send a request and wait for its answer, whose parts follow each other.

        Raises:
            OSError, EOFError: when the line breaks or the time is over; the request may have arrived.
        """
        self._connection.send_bytes(data)
        if not self._readable.select(max(0.0, timeout_s)):
            raise TimeoutError(f"no answer within {timeout_s:.1f} s")
        return decode_parts(self._receive(), self._receive)

    def _receive(self) -> bytes:
        return self._connection.recv_bytes(MESSAGE_BYTES_MAX)

    def is_stale(self) -> bool:
        """Tell whether the gateway has closed the line: nothing else can be there to read between two requests."""
        return bool(self._readable.select(0))

    def wake(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._readable.close()
        self._connection.close()
        self._socket.close()


def _note_taken(answer: "asyncio.Future[Answer]") -> None:
    """Look at an answer that may come when nobody waits for it any more, so that it is not reported as forgotten."""
    if not answer.cancelled():
        answer.exception()


class RemoteLink:
    """Call a gateway behind a socket; connects when needed, and anew after a broken line.

    A request that timed out or whose line broke may have arrived, so it ends as ``OutcomeUnknown`` and is never
    repeated here; its line is given up, so that a late answer cannot be taken for the next one.
    """

    def __init__(
        self, host: str, port: int, secret: str, *, timeout_s: float = 40.0, connect_timeout_s: float = 3.0
    ) -> None:
        self._address = host, port
        self._secret = secret.encode()
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._line: _Line | None = None

    async def call(self, request: Mapping[str, Any]) -> Answer:
        job = _Job(encode(request), monotonic() + self._timeout_s)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dtms-link", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        waiting = asyncio.wrap_future(job.answer)
        waiting.add_done_callback(_note_taken)
        try:
            # The thread keeps the time itself; this is for a line that stalls in the middle of a message.
            return await asyncio.wait_for(asyncio.shield(waiting), self._timeout_s + 2 * self._connect_timeout_s)
        except TimeoutError:
            return self._give_up(job)
        except asyncio.CancelledError:
            job.answer.cancel()  # not sent any more, when its turn had not come
            raise

    def _give_up(self, job: _Job) -> Answer:
        if job.answer.cancel():
            raise BrokerUnavailable("the request did not get its turn on the line to the gateway")
        if self._line is not None:
            self._line.wake()
        raise OutcomeUnknown("the gateway stalled in the middle of an answer")

    def close(self) -> None:
        """End the thread and its connection."""
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(self._connect_timeout_s)
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.answer.set_running_or_notify_cancel():
                self._do(job)
        self._drop()

    def _do(self, job: _Job) -> None:
        try:
            line = self._connected(job.until_s)
        except BrokerUnavailable as away:
            job.answer.set_exception(away)
            return
        try:
            job.answer.set_result(line.exchange(job.data, job.until_s - monotonic()))
        except _BROKEN as broken:
            self._drop()
            what = str(broken) or type(broken).__name__
            job.answer.set_exception(OutcomeUnknown(f"the gateway did not answer: {what}"))

    def _connected(self, until_s: float) -> _Line:
        if monotonic() >= until_s:
            raise BrokerUnavailable("the request waited too long for its turn")
        if self._line is not None and self._line.is_stale():
            self._drop()  # nothing was sent on it yet, so a new line is safe
        if self._line is None:
            self._line = self._connect()
        return self._line

    def _connect(self) -> _Line:
        host, port = self._address
        try:
            return _Line(host, port, self._secret, self._connect_timeout_s)
        except AuthenticationError as refused:
            raise BrokerUnavailable(f"the gateway on {host}:{port} refused the secret") from refused
        except _BROKEN as away:
            raise BrokerUnavailable(f"no gateway on {host}:{port}: {away or type(away).__name__}") from away

    def _drop(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

"""A program that loads an HTTP server: requests made beforehand over connections that stay open, timed one by one.

It reads one job from standard input and writes one result to standard output, both JSON. What it does per request is as
little as possible, so that the server is measured and not its client.
"""

import asyncio
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to send. With ``seconds`` the requests are repeated in turn for so long."""

    port: int
    connections: int
    requests: list[tuple[str, str, str | None]]
    """Method, path, and JSON body."""
    seconds: float | None = None
    pause_s: float = 0.0
    """Between two requests of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    elapsed_s: float
    """From the first request to the last answer."""
    ms: list[float]
    """Of each answered request."""
    statuses: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    """The body of the first answer that is not a 200."""


def encode(port: int, method: str, path: str, body: str | None) -> bytes:
    """Write a request as it crosses the wire."""
    data = (body or "").encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


class Line(asyncio.Protocol):
    """One connection: sends the next request when the last one was answered."""

    def __init__(self, source: "Source") -> None:
        self._source = source
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._began = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send_next(self) -> None:
        data = self._source.take()
        assert self._transport is not None
        if data is None:
            self._transport.close()
            return
        self._began = perf_counter()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(HEAD_END)
        if head < 0:
            return
        at = self._buffer.find(LENGTH, 0, head) + len(LENGTH)
        length = int(self._buffer[at : self._buffer.index(b"\r", at)])
        if len(self._buffer) < head + len(HEAD_END) + length:
            return
        self._source.note(perf_counter() - self._began, bytes(self._buffer[9:12]), self._buffer[head:])
        self._buffer.clear()
        if self._source.pause_s:
            asyncio.get_running_loop().call_later(self._source.pause_s, self.send_next)
        else:
            self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None) if exc is None else self.ended.set_exception(exc)


class Source:
    """What is left to send, and what came back."""

    def __init__(self, requests: Iterable[bytes], job: Job) -> None:
        self._left = deque(requests)
        self._seconds = job.seconds
        self._until = perf_counter() + job.seconds if job.seconds else 0.0
        self.pause_s = job.pause_s
        self.ms: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.refused = ""

    def take(self) -> bytes | None:
        if self._seconds is not None:
            if perf_counter() >= self._until:
                return None
            self._left.rotate(-1)
            return self._left[-1]
        return self._left.popleft() if self._left else None

    def note(self, seconds: float, status: bytes, answer: bytearray) -> None:
        self.ms.append(seconds * 1000.0)
        self.statuses[status.decode()] += 1
        if status != b"200" and not self.refused:
            self.refused = answer.decode(errors="replace").strip()


async def carry_out(job: Job) -> Result:
    """Send everything and wait for the answers."""
    encoded = [encode(job.port, *request) for request in job.requests]
    loop = asyncio.get_running_loop()
    source = Source(encoded, job)
    made = [await loop.create_connection(lambda: Line(source), "127.0.0.1", job.port) for _ in range(job.connections)]
    lines: Sequence[Line] = [line for _, line in made]
    began = perf_counter()
    for line in lines:
        line.send_next()
    await asyncio.gather(*(line.ended for line in lines))
    return Result(
        elapsed_s=perf_counter() - began, ms=source.ms, statuses=dict(source.statuses), refused=source.refused
    )


def main() -> None:
    """Carry out the job on standard input."""
    given = json.load(sys.stdin)
    given["requests"] = [tuple(request) for request in given["requests"]]
    json.dump(asdict(asyncio.run(carry_out(Job(**given)))), sys.stdout)


if __name__ == "__main__":
    main()

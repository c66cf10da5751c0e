"""A local HTTP server whose answers a test chooses, on a real socket."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page answers; ``stall_s`` is waited before it."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = 0.0


Page = Callable[[Mapping[str, str]], Answer]
"""Answers a question by its query."""


class Web:
    """Pages by path, and what was asked."""

    def __init__(self, port: int) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{port}"
        self.ended = threading.Event()

    def serve(self, path: str, answer: Answer) -> str:
        """Answer the same on every question; returns the page's URL."""
        self.pages[path] = lambda _: answer
        return self.url + path

    def count(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == path)

    def answer(self, target: str) -> Answer:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        self.asked.append((parts.path, query))
        page = self.pages.get(parts.path)
        return Answer(b"no such page", 404) if page is None else page(query)


@contextmanager
def web() -> Iterator[Web]:
    """Serve on a free port of this machine until the block ends."""
    made: list[Web] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            answer = made[0].answer(self.path)
            if answer.stall_s:
                made[0].ended.wait(answer.stall_s)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            with suppress(ConnectionError):  # who asked may have given up
                self.wfile.write(answer.body)
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.append(Web(server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        made[0].ended.set()
        server.shutdown()
        thread.join(5.0)
        server.server_close()


class HandClock:
    """A clock that a test sets; sleeping passes its time at once."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.wall_off_ms = 0
        self._start_ms = now_ms

    def market_ms(self) -> int:
        return self.now_ms

    def machine_s(self) -> float:
        return (self.now_ms - self._start_ms) / 1000

    def wall_ms(self) -> int:
        return self.now_ms + self.wall_off_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    async def sleep_market(self, seconds: float) -> None:
        self.advance(seconds)

    async def sleep_machine(self, seconds: float) -> None:
        self.advance(seconds)

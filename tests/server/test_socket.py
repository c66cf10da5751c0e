"""Over a real socket: what HTTP itself can carry wrongly, and how the program starts and stops."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest
from tests.server.double import FAILED, READY, STARTING
from tests.server.world import ENVELOPE, World, make_world

from dtms.domain.errors import Misconfigured
from dtms.server.listen import bind
from dtms.server.run import http_server, run

HEAD = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"


class RealClock:
    """Machine time of the event loop, for what really waits."""

    def market_ms(self) -> int:
        return READY_MS

    def machine_s(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        return READY_MS

    async def sleep_market(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_machine(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


READY_MS = 1_758_905_100_000


@contextlib.asynccontextmanager
async def serving(world: World) -> AsyncIterator[int]:
    """Serve the application on a free port."""
    bound = bind("127.0.0.1", 0)
    server = http_server(world.app)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield int(bound.getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body
    finally:
        writer.close()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = b"POST /dtms/trade/enable HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED: dict[str, tuple[tuple[bytes, ...], int]] = {
    "not HTTP": ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",), 400),
    "no version": ((b"GET /health\r\n\r\n",), 403),
    "unknown method": ((b"FETCH /health HTTP/1.1\r\n" + HEAD + b"\r\n",), 400),
    "bad header": ((b"GET /health HTTP/1.1\r\nHo st: x\r\n\r\n",), 400),
    "two lengths": (
        (b"POST /dtms/halt HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",),
        400,
    ),
    "long header": ((b"GET /health HTTP/1.1\r\n" + HEAD + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",), 400),
    "many headers": ((b"GET /health HTTP/1.1\r\n" + HEAD + b"X-A: bbbbbbbb\r\n" * 5_000 + b"\r\n",), 400),
    "long path": ((b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",), 400),
    "bad chunk": ((CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"), 400),
    "no host": ((b"GET /dtms/status HTTP/1.1\r\n\r\n",), 403),
    "no host, old": ((b"GET /dtms/status HTTP/1.0\r\n\r\n",), 403),
    "two hosts": ((b"GET /dtms/status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",), 403),
    "long length": ((b"POST /dtms/halt HTTP/1.1\r\n" + HEAD + b"Content-Length: 65537\r\n\r\n",), 413),
    "long chunks": ((CHUNKED, chunk(b"[" + b"1," * 20_000), chunk(b"1," * 20_000), b"0\r\n\r\n"), 413),
    "endless chunks": ((CHUNKED, *(chunk(b" " * 60_000) for _ in range(20))), 413),
    "bad UTF-8": ((CHUNKED, chunk(b'{"ticket": 1, "symbol": "\xc3\x28"}'), b"0\r\n\r\n"), 400),
    "form": ((b"POST /dtms/halt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",), 415),
    "odd path": ((b"GET /dtms/trade/%ff%fe HTTP/1.1\r\n" + HEAD + b"\r\n",), 422),
    "odd query": ((b"GET /dtms/trades?symbol=%ff&tickets=%c3%28 HTTP/1.1\r\n" + HEAD + b"\r\n",), 422),
    "absolute path": ((b"GET http://evil.example/dtms/status HTTP/1.1\r\nHost: evil.example\r\n\r\n",), 403),
    "upgrade": ((b"GET /nope HTTP/1.1\r\n" + HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",), 404),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_every_malformed_request_gets_the_envelope_and_changes_nothing(name: str) -> None:
    world = make_world()
    parts, status = MALFORMED[name]

    async def main() -> tuple[int, dict[str, str], bytes]:
        async with serving(world) as port:
            return await exchange(port, *parts)

    answered, headers, body = asyncio.run(main())
    assert answered == status, body
    envelope = json.loads(body)
    assert envelope.keys() >= ENVELOPE
    assert envelope["correlation_id"] == headers["x-correlation-id"]
    assert world.service.asked_by == []


def test_the_server_lives_on_after_rude_clients() -> None:
    world = make_world()

    async def main() -> int:
        async with serving(world) as port:
            for parts, _ in MALFORMED.values():
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await exchange(port, *parts)
            _, stuck = await asyncio.open_connection("127.0.0.1", port)
            stuck.write(b"POST /dtms/trade/enable HTTP/1.1\r\n" + HEAD + b"Content-Length: 10\r\n\r\n{")
            status, _, _ = await exchange(port, b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
            stuck.close()
            return status

    assert asyncio.run(main()) == 200


def test_an_internal_error_over_the_socket_is_the_envelope() -> None:
    world = make_world()
    world.service.break_with = RuntimeError("inside")
    request = b"POST /dtms/halt HTTP/1.1\r\n" + HEAD + b"X-Correlation-ID: mine\r\nContent-Length: 0\r\n\r\n"

    async def main() -> tuple[int, dict[str, str], bytes]:
        async with serving(world) as port:
            return await exchange(port, request)

    status, headers, body = asyncio.run(main())
    assert (status, headers["x-correlation-id"], json.loads(body)["error"]) == (500, "mine", "internal_error")


def test_a_taken_port_is_one_clear_message() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Misconfigured, match=rf"api.port = {port}: cannot listen on 127.0.0.1:{port}.*DTMS_API_PORT"
        ):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "dtms.local"])
def test_listening_beyond_this_machine_without_keys_is_refused(host: str) -> None:
    with pytest.raises(Misconfigured, match="without API keys"):
        bind(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_addresses_are_bound(host: str) -> None:
    with bind(host, 0) as bound:
        assert bound.getsockname()[1] > 0


class Engine:
    """A program that ends with a code, or runs until it is stopped."""

    def __init__(self, world: World, code: int | None = None) -> None:
        self._world = world
        self._code = code
        self._asked = asyncio.Event()
        self.stopped = False

    async def run(self) -> int:
        if self._code is not None:
            self._world.service.state = FAILED
            return self._code
        self._world.service.state = READY
        await self._asked.wait()
        return 0

    async def stop(self) -> None:
        self.stopped = True
        self._asked.set()


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself a catchable signal there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_engine_first_and_ends_with_0(number: signal.Signals) -> None:
    world = make_world()
    world.service.state = STARTING
    answered: list[int] = []

    async def main() -> tuple[int, bool]:
        bound = bind("127.0.0.1", 0)
        port = port_of(bound)
        engine = Engine(world)

        async def visitor() -> None:
            status, _, _ = await exchange(port, b"GET /dtms/health HTTP/1.1\r\n" + HEAD + b"\r\n")
            answered.append(status)
            os.kill(os.getpid(), number)

        visiting = asyncio.create_task(visitor())
        async with asyncio.timeout(10):
            code = await run(world.app, bound, engine, RealClock())
        await visiting
        return code, engine.stopped

    assert asyncio.run(main()) == (0, True)
    assert answered == [200]


def test_a_failed_engine_is_told_by_health_before_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtms.server.run.FAILED_LINGER_S", 1.0)
    world = make_world()

    async def main() -> tuple[int, int]:
        bound = bind("127.0.0.1", 0)
        asking = asyncio.create_task(exchange(port_of(bound), b"GET /dtms/health HTTP/1.1\r\n" + HEAD + b"\r\n"))
        async with asyncio.timeout(10):
            code = await run(world.app, bound, Engine(world, code=1), RealClock())
        return code, (await asking)[0]

    assert asyncio.run(main()) == (1, 500)


def test_an_engine_that_breaks_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtms.server.run.FAILED_LINGER_S", 0.1)
    world = make_world()

    class Broken(Engine):
        async def run(self) -> int:
            raise RuntimeError("no")

    async def main() -> int:
        async with asyncio.timeout(10):
            return await run(world.app, bind("127.0.0.1", 0), Broken(world), RealClock())

    assert asyncio.run(main()) == 1


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself a catchable signal there")
def test_an_engine_that_does_not_stop_is_left_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtms.server.run.STOP_S", 3.3)
    world = make_world()

    class Stuck(Engine):
        async def stop(self) -> None:
            await asyncio.sleep(60)

    async def main() -> int:
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            return await run(world.app, bind("127.0.0.1", 0), Stuck(world), RealClock())

    assert asyncio.run(main()) == 1

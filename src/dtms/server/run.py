"""Run the HTTP program around the engine: answer from the first step on, stop in order, return the exit code."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Protocol

import structlog
import uvicorn

from dtms.ports.clock import Clock
from dtms.server.app import App
from dtms.server.listen import EnvelopeProtocol

STOP_S: Final = 10.0
FAILED_LINGER_S: Final = 5.0
_HTTP_STOP_S: Final = 2
_SIGNAL_NAMES: Final = ("SIGINT", "SIGTERM", "SIGBREAK")  # the last one exists on Windows alone

_log = structlog.get_logger("dtms.server")


class Program(Protocol):
    """What runs behind the HTTP program: the engine."""

    async def run(self) -> int:
        """Start, and run until stopped or failed; return the exit code."""
        ...

    async def stop(self) -> None:
        """Finish what is in hand and let ``run`` return."""
        ...


class _Server(uvicorn.Server):
    """Leaves signals to ``run``, which stops the engine before HTTP."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(app: App) -> uvicorn.Server:
    """Build the server that answers ``app``'s requests."""
    return _Server(
        uvicorn.Config(
            app,
            http=EnvelopeProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_HTTP_STOP_S,
        )
    )


async def run(app: App, bound: socket.socket, program: Program, clock: Clock) -> int:
    """Serve until the engine ends or a signal asks to stop; return the exit code.

    HTTP answers before the engine starts and while it stops. When the engine fails, health tells why for
    ``FAILED_LINGER_S`` before the process ends. A second signal ends it at once.
    """
    server = http_server(app)
    asked = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        http = tasks.create_task(server.serve(sockets=[bound]))
        watch = tasks.create_task(app.reloader.watch(clock))
        with on_signals(asked.set):
            code = await _engine(program, asked)
            server.should_exit = True
            watch.cancel()
            await http
    return code


async def _engine(program: Program, asked: asyncio.Event) -> int:
    """Run the engine until it ends by itself or is asked to stop."""
    running = asyncio.ensure_future(program.run())
    waiting = asyncio.ensure_future(asked.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        return await _stopped(program, running)
    waiting.cancel()
    code = _code_of(running)
    if code != 0:
        _log.error("engine_failed", exit_code=code, http_ends_in_s=FAILED_LINGER_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), FAILED_LINGER_S)
    return code


def _code_of(ended: asyncio.Future[int]) -> int:
    error = ended.exception()
    if error is None:
        return ended.result()
    _log.critical("engine_broke", exc_info=error)
    return 1


async def _stopped(program: Program, running: asyncio.Future[int]) -> int:
    _log.info("stopping", within_s=STOP_S)
    try:
        async with asyncio.timeout(STOP_S - _HTTP_STOP_S - 1):
            await program.stop()
            await asyncio.wait({running})
            return _code_of(running)
    except TimeoutError:
        running.cancel()
        _log.error("stop_overran", after_s=STOP_S - _HTTP_STOP_S - 1)
        return 1


@contextlib.contextmanager
def on_signals(ask: Callable[[], None]) -> Iterator[None]:
    """Turn the first signal into a request to stop; give back the former handlers, also for the second one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in _SIGNAL_NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(_: int, __: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(ask)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()

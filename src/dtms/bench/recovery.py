"""Ready again after ``kill -9``: real processes with a hundred trades, ended at any moment and started anew."""

import time
from collections.abc import Callable, Iterator

import httpx

from dtms.bench.figures import Figure, at_most, quantile
from dtms.bench.measure import CannotMeasure
from dtms.bench.programs import Programs, programs
from dtms.ops.processes import Child

TRADES = 100
KILLS = 20
SYMBOLS = 10
READY_S_MAX = 5.0
NAME = "recovery"
STRIDE = 37
"""Prime to a hundred: kills are spread over a second after the server was ready."""

Say = Callable[[str], None]


def measure_recovery(say: Say, kills: int = KILLS, trades: int = TRADES) -> Iterator[Figure]:
    """Measure the seconds from starting the process to its being ready, with every trade under watch again."""
    with programs() as running:
        say(f"recovery: starting the programs with {trades} positions, which become trades")
        running.start_gateway(symbols=SYMBOLS, positions=trades, magic=0)
        server, port = _started(running)
        _require_watched(port, trades)
        seconds: list[float] = []
        for kill in range(kills):
            time.sleep(kill * STRIDE % 100 / 100)
            _kill(running, server)
            began = time.perf_counter()
            server, port = _started(running)
            seconds.append(time.perf_counter() - began)
            _require_watched(port, trades)
            say(f"recovery: kill {kill + 1} of {kills}: ready after {seconds[-1]:.2f} s")
    told = f"ready after kill -9 with {trades} trades"
    yield Figure(name=told, unit="s", runs=tuple(seconds))
    yield Figure(name=f"{told}: p99", unit="s", runs=(quantile(seconds, 0.99),), limit=at_most(READY_S_MAX))


def _started(running: Programs) -> tuple[Child, int]:
    return running.start_server(NAME, {"mode": "auto"})


def _kill(running: Programs, server: Child) -> None:
    """End the server without a chance to write anything more."""
    server.process.kill()
    server.process.wait()
    running.children.remove(server)


def _require_watched(port: int, trades: int) -> None:
    """Refuse figures of a server that is ready without its trades.

    Raises:
        CannotMeasure: when not all of them are watched.
    """
    answer = httpx.get(f"http://127.0.0.1:{port}/dtms/health", timeout=5.0, trust_env=False).json()
    if answer.get("active_trades") != trades:
        raise CannotMeasure(f"{answer.get('active_trades')} of {trades} trades are watched after a restart")

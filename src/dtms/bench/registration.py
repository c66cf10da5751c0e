"""Durable registration over HTTP: the real server, gateway and database file, against the same route without them."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from dtms.bench.figures import Figure, at_least, quantile
from dtms.bench.load import Job
from dtms.bench.measure import CannotMeasure
from dtms.bench.programs import Programs, programs, send
from dtms.terminal.simulated.ledger import FIRST_TICKET

RUNS = 5
POSITIONS = 1_500
WARM_UP = 100
CONNECTIONS = 10
SYMBOLS = 20
STRANGER_MAGIC = 77
"""Positions with it are not adopted at the start: they wait to be registered."""
RATIO_MIN = 0.5
Say = Callable[[str], None]
Requests = list[tuple[str, str, str | None]]


def measure_registration(say: Say, runs: int = RUNS, positions: int = POSITIONS) -> Iterator[Figure]:
    """Measure registrations per second, and how long one waits, each run on a fresh database."""
    durable, plain, ms, alone = [], [], [], []
    with programs() as running:
        say(f"registration: starting the gateway with {positions:,} positions")
        running.start_gateway(symbols=SYMBOLS, positions=positions, magic=STRANGER_MAGIC)
        plain_port = running.start_plain()
        for run in range(runs):
            say(f"registration: run {run + 1} of {runs}")
            plain.append(_rate(plain_port, _requests(positions)))
            rate, waits, single = _durable(running, f"registration{run}", positions)
            durable.append(rate)
            ms.append(waits)
            alone.append(single)
    ratios = tuple(a / b for a, b in zip(durable, plain, strict=True))
    yield Figure(name=f"registration, durable, {CONNECTIONS} connections", unit="/s", runs=tuple(durable))
    yield Figure(name="the same route without broker and store", unit="/s", runs=tuple(plain))
    yield Figure(name="registration, durable, against that route", unit="×", runs=ratios, limit=at_least(RATIO_MIN))
    yield from _waits("registration, durable, 10 connections", ms)
    yield from _waits("registration, durable, one by one", alone)


def _waits(name: str, runs: list[list[float]]) -> Iterator[Figure]:
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(name=f"{name}: {word}", unit="ms", runs=tuple(quantile(run, share) for run in runs))


def _requests(count: int, first: int = 0) -> Requests:
    return [
        ("POST", "/dtms/trade/enable", json.dumps({"ticket": FIRST_TICKET + number, "action": "enable"}))
        for number in range(first, count)
    ]


def _rate(port: int, requests: Requests) -> float:
    send(Job(port=port, connections=CONNECTIONS, requests=requests[:WARM_UP]))
    measured = requests[WARM_UP:]
    return len(measured) / send(Job(port=port, connections=CONNECTIONS, requests=measured)).elapsed_s


def _durable(running: Programs, name: str, positions: int) -> tuple[float, list[float], list[float]]:
    """Register every position; return the rate, and the milliseconds of each together and one by one."""
    server, port = running.start_server(name, {"mode": "observe"})
    requests = _requests(positions)
    single = send(Job(port=port, connections=1, requests=requests[:WARM_UP]))
    result = send(Job(port=port, connections=CONNECTIONS, requests=requests[WARM_UP:]))
    server.process.kill()  # what was answered must be there without a chance to write anything more
    server.process.wait()
    running.children.remove(server)
    _require_stored(running.folder / f"{name}.db", positions)
    return (positions - WARM_UP) / result.elapsed_s, result.ms, single.ms


def _require_stored(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        stored = int(database.execute("SELECT count(*) FROM trades").fetchone()[0])
    if stored != count:
        raise CannotMeasure(f"{count} registrations were answered, {stored} are stored")

"""Queries while the server watches thousands of trades: first at rest, then while passes over all of them run."""

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import httpx

from dtms.bench.figures import Figure, at_most, quantile
from dtms.bench.load import Job
from dtms.bench.measure import CannotMeasure
from dtms.bench.programs import programs, send
from dtms.terminal.simulated.ledger import FIRST_TICKET

TRADES = 10_000
SYMBOLS = 20
ADOPT_S = 120.0
RUNS = 5
RUN_S = 1.5
CONNECTIONS = 2
PAUSE_S = 0.005
SLOWER_MAX = 2.0
RARELY_S = 3_600.0
SPANS, LOOKS, LOOK_S = 4, 20, 0.1
"""Two seconds are looked at at a time: each has a pass in it."""
UNREACHED = {
    "hedge_at": -11.4,
    "warn_l2": -11.3,
    "warn_l1": -11.2,
    "warn_l1_exit": 11.2,
    "warn_l2_exit": 11.2,
    "recovered_at": 11.2,
}
"""Thresholds beyond every score."""
Say = Callable[[str], None]
Requests = list[tuple[str, str, str | None]]


def settings(*, busy: bool) -> Mapping[str, Any]:
    """Return a configuration under which nothing is due; ``busy`` checks every trade, fast and deep, every second."""
    pace = 1.0 if busy else RARELY_S
    paces = dict.fromkeys(("fast_s", "fast_high_volatility_s", "fast_flat_s", "fast_hedged_s", "deep_s_max"), pace)
    return {"mode": "auto", "protection": UNREACHED, "cadence": {**paces, "tick_poll_ms": 250}}


def requests_of(trades: int) -> Mapping[str, Requests]:
    """Return the three queries, spread over the trades."""
    tickets = range(FIRST_TICKET, FIRST_TICKET + trades, max(1, trades // 50))
    many = ",".join(str(FIRST_TICKET + number) for number in range(min(10, trades)))
    return {
        "GET /dtms/trade/{ticket}": [("GET", f"/dtms/trade/{ticket}", None) for ticket in tickets],
        "GET /dtms/trades?tickets= (10)": [("GET", f"/dtms/trades?tickets={many}", None)],
        "GET /dtms/status": [("GET", "/dtms/status", None)],
    }


def measure_queries(say: Say, trades: int = TRADES, runs: int = RUNS, run_s: float = RUN_S) -> Iterator[Figure]:
    """Measure how long queries wait, at rest and during passes."""
    waits: dict[bool, dict[str, list[list[float]]]] = {}
    with programs() as running:
        say(f"queries: starting the gateway with {trades:,} positions")
        running.start_gateway(symbols=SYMBOLS, positions=trades, magic=0)
        for busy in (False, True):
            say(f"queries: {'while passes run' if busy else 'at rest'}")
            server, port = running.start_server("queries", settings(busy=busy), ADOPT_S)
            _require_watched(port, trades)
            waits[busy] = _waits(port, requests_of(trades), runs, run_s)
            if busy:
                yield _cycle(port)
            running.end(server)
    for name in requests_of(trades):
        yield from _figures(name, trades, waits[False][name], waits[True][name])


def _waits(port: int, queries: Mapping[str, Requests], runs: int, run_s: float) -> dict[str, list[list[float]]]:
    """Milliseconds of each answer, by query and run."""
    for requests in queries.values():
        send(Job(port=port, connections=CONNECTIONS, requests=requests, seconds=run_s / 4))
    job = {
        name: Job(port=port, connections=CONNECTIONS, requests=sent, seconds=run_s, pause_s=PAUSE_S)
        for name, sent in queries.items()
    }
    return {name: [send(one).ms for _ in range(runs)] for name, one in job.items()}


def _figures(name: str, trades: int, rest: list[list[float]], busy: list[list[float]]) -> Iterator[Figure]:
    named = f"{name}, {trades:,} trades"
    tops = {}
    for word, runs in (("at rest", rest), ("during passes", busy)):
        for share, label in ((0.5, "p50"), (0.99, "p99")):
            figures = tuple(quantile(run, share) for run in runs)
            tops[word] = figures
            yield Figure(name=f"{named}, {word}: {label}", unit="ms", runs=figures)
    base = median(tops["at rest"])
    slower = tuple(figure / base for figure in tops["during passes"])
    yield Figure(name=f"{named}: p99 during passes against rest", unit="×", runs=slower, limit=at_most(SLOWER_MAX))


def _require_watched(port: int, trades: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0) as client:
        active = client.get("/dtms/status").json()["dtms_status"]["active_trades"]
    if active != trades:
        raise CannotMeasure(f"{active} of {trades} trades are watched")


def _cycle(port: int) -> Figure:
    """Return how long cycles with a pass took, and see to it that passes did run."""
    longest: list[float] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0) as client:
        before = _deep_checks(client)
        for _ in range(SPANS):
            seen = [_cycle_ms(client) for _ in range(LOOKS)]
            longest.append(max(seen))
        if _deep_checks(client) == before:
            raise CannotMeasure("no deep pass ran while queries were measured")
    return Figure(name="a whole cycle over every trade, in the server", unit="ms", runs=tuple(longest))


def _cycle_ms(client: httpx.Client) -> float:
    time.sleep(LOOK_S)
    return float(client.get("/dtms/monitoring/health").json()["last_cycle"]["duration_s"]) * 1000.0


def _deep_checks(client: httpx.Client) -> int:
    return int(client.get("/dtms/status").json()["dtms_status"]["performance"]["deep_checks_total"])

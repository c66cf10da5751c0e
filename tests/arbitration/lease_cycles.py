"""How long a lease cycle takes, from wanting a ticket's lease to having given it back, while processes compete.

``python -m tests.arbitration.lease_cycles`` starts real processes on one file, each with cycles on tickets drawn from a
few, and prints what was measured. ``--pause-ms`` is how long a process does something else between two cycles; with 0
they want leases all the time, and share the cores with each other. ``--plain`` does the same without a store, a hand-
over to a thread in place of each step: what that takes is the machine's, and whatever else it does.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql import SqlStore, this_holder
from dtms.domain.errors import LeaseHeld
from dtms.ports.store import Lease

ROOT = Path(__file__).parents[2]
TTL_S = 15.0
RETRY_S = (0.0002, 0.001)
"""The shortest and longest pause of one that finds a lease held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does."""

    url: str
    cycles: int
    tickets: int
    pause_ms: float
    seed: int
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One lease had: when, on the clock that all processes share, and how long it took to be granted and given back."""

    ticket: int
    token: int
    granted_s: float
    released_s: float
    took_ms: float
    refused: int


async def work(job: Job) -> list[Cycle]:
    store = SqlStore(job.url, SystemClock())
    await store.open()
    draw, holder = random.Random(job.seed), this_holder()
    await asyncio.to_thread(_begin_together)
    done = []
    for _ in range(job.cycles):
        ticket = draw.randrange(1, job.tickets + 1)
        done.append(await (_plain_cycle(ticket) if job.plain else _cycle(store, holder, ticket, draw)))
        await asyncio.sleep(job.pause_ms / 1000 * 2 * draw.random())
    await store.close()
    return done


def _begin_together() -> None:
    """Say that it is ready, and wait to be told."""
    print("ready", flush=True)
    sys.stdin.readline()


async def _cycle(store: SqlStore, holder: str, ticket: int, draw: random.Random) -> Cycle:
    began_s, refused = time.monotonic(), 0
    while True:
        lease = await _granted(store, holder, ticket)
        if lease is not None:
            break
        refused += 1
        await asyncio.sleep(draw.uniform(*RETRY_S))
    granted_s = time.monotonic()
    before_release_s = time.monotonic()
    await store.release(lease)
    ended_s = time.monotonic()
    return Cycle(
        ticket=ticket,
        token=lease.token,
        granted_s=granted_s,
        released_s=before_release_s,
        took_ms=(ended_s - began_s) * 1000,
        refused=refused,
    )


async def _plain_cycle(ticket: int) -> Cycle:
    began_s = time.monotonic()
    await asyncio.to_thread(time.monotonic)
    granted_s = time.monotonic()
    await asyncio.to_thread(time.monotonic)
    ended_s = time.monotonic()
    took_ms = (ended_s - began_s) * 1000
    return Cycle(ticket=ticket, token=0, granted_s=granted_s, released_s=granted_s, took_ms=took_ms, refused=0)


async def _granted(store: SqlStore, holder: str, ticket: int) -> Lease | None:
    try:
        return (await store.grant(str(ticket), holder, TTL_S, ticket=ticket)).lease
    except LeaseHeld:
        return None


def run(
    folder: Path, *, processes: int, cycles: int, tickets: int, pause_ms: float, plain: bool = False
) -> list[Cycle]:
    """Let real processes compete on one new file, and return all that they had."""
    url = f"sqlite:///{(folder / 'leases.db').as_posix()}"
    asyncio.run(_make(url))
    jobs = [
        Job(url=url, cycles=cycles, tickets=tickets, pause_ms=pause_ms, seed=n, plain=plain) for n in range(processes)
    ]
    started = [_start(job) for job in jobs]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [Cycle(**plain) for process in started for plain in json.loads(process.communicate(timeout=120)[0])]


async def _make(url: str) -> None:
    store = SqlStore(url, SystemClock())
    await store.open()
    await store.close()


def _start(job: Job) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.arbitration.lease_cycles", "--job", json.dumps(asdict(job))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--cycles", type=int, default=500, help="of each process")
    parser.add_argument("--tickets", type=int, default=16)
    parser.add_argument("--pause-ms", type=float, default=0.0, help="on average, between two cycles of a process")
    parser.add_argument("--plain", action="store_true", help="without a store, to know the machine by")
    parser.add_argument("--folder", type=Path, help="where the file is made; a temporary folder else")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.job is not None:
        silence()
        print(json.dumps([asdict(cycle) for cycle in asyncio.run(work(Job(**json.loads(given.job))))]))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        began_s = time.monotonic()
        done = run(
            Path(folder),
            processes=given.processes,
            cycles=given.cycles,
            tickets=given.tickets,
            pause_ms=given.pause_ms,
            plain=given.plain,
        )
        took_s = time.monotonic() - began_s
    took = [cycle.took_ms for cycle in done]
    print(
        f"{len(done):,} cycles of {given.processes} processes on {given.tickets} tickets in {took_s:.1f} s:"
        f" median {quantile(took, 0.5):.2f} ms, p99 {quantile(took, 0.99):.2f} ms, longest {max(took):.1f} ms;"
        f" {sum(cycle.refused for cycle in done):,} times the lease was found held"
    )


def silence() -> None:
    """Tell no single lease: what is measured is printed."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))


if __name__ == "__main__":
    main()

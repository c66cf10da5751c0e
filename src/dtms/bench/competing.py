"""A program that wants leases: grants and releases on a store that others compete for, timed one by one.

It reads jobs from standard input, a line each; says that it is ready, begins when it is told to, and answers with what
it measured. It ends with its input.
"""

import asyncio
import json
import logging
import random
import sys
import time
from dataclasses import asdict, dataclass

import structlog

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql import SqlStore, this_holder
from dtms.domain.errors import LeaseHeld
from dtms.ports.store import Lease

TTL_S = 15.0
RETRY_S = (0.0002, 0.001)
"""The shortest and longest pause of one that finds a lease held."""
READY = "ready"
PLAIN = "plain"
"""Instead of a store's address: a hand-over to a thread in place of each step, which is what the machine takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    url: str
    cycles: int
    tickets: int
    pause_ms: float
    """On average, between two cycles."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    ms: list[float]
    """Of each cycle, from wanting a lease to having given it back."""
    refused: int
    """How often one was found held."""


class Cycles:
    """Grants and releases, one after another."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._draw = random.Random(job.seed)
        self._store = None if job.url == PLAIN else SqlStore(job.url, SystemClock())
        self._holder = this_holder()
        self._refused = 0

    async def run(self) -> Result:
        if self._store is not None:
            await self._store.open()
        await asyncio.to_thread(_wait_for_the_others)
        times = []
        for _ in range(self._job.cycles):
            times.append(await self._timed())
            await asyncio.sleep(self._job.pause_ms / 1000 * 2 * self._draw.random())
        if self._store is not None:
            await self._store.close()
        return Result(ms=times, refused=self._refused)

    async def _timed(self) -> float:
        ticket = self._draw.randrange(1, self._job.tickets + 1)
        began_s = time.perf_counter()
        if self._store is None:
            await asyncio.to_thread(time.perf_counter)
            await asyncio.to_thread(time.perf_counter)
        else:
            await self._store.release(await self._granted(self._store, ticket))
        return (time.perf_counter() - began_s) * 1000

    async def _granted(self, store: SqlStore, ticket: int) -> Lease:
        while True:
            try:
                return (await store.grant(str(ticket), self._holder, TTL_S, ticket=ticket)).lease
            except LeaseHeld:
                self._refused += 1
                await asyncio.sleep(self._draw.uniform(*RETRY_S))


def _wait_for_the_others() -> None:
    print(READY, flush=True)
    sys.stdin.readline()


def main() -> None:
    """Carry out the jobs on standard input."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    while line := sys.stdin.readline():
        result = asyncio.run(Cycles(Job(**json.loads(line))).run())
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()

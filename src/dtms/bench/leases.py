"""Leases: how long it takes to have one and to give it back while eight processes compete."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.bench.competing import PLAIN, READY, Job, Result
from dtms.bench.figures import Figure, Limit, at_most, quantile
from dtms.bench.measure import CannotMeasure

RUNS = 5
PROCESSES = 8
CYCLES = 50
"""Of each process."""
TICKETS = 16
CYCLE_MS_MAX = 5.0
PAUSES_MS = (25.0, 0.0)
"""What a process does something else for between two cycles, on average. Eight that act forty times a second are far
more than two programs ever want; without a pause they want leases all the time, and share the cores with each other."""

Say = Callable[[str], None]


def measure_leases(say: Say, runs: int = RUNS, processes: int = PROCESSES, cycles: int = CYCLES) -> Iterator[Figure]:
    """Measure cycles of grant and release on one file, and the same without a store for what the machine takes."""
    with competitors(processes) as competing:
        for pause_ms in PAUSES_MS:
            pace = f"every {pause_ms:g} ms" if pause_ms else "without a pause"
            say(f"leases: {processes} processes, {pace}")
            measured = [competing.on_a_file(cycles, pause_ms) for _ in range(runs)]
            plain = [competing.together(PLAIN, cycles, pause_ms) for _ in range(runs)]
            named = f"lease had and given back, {processes} processes {pace}"
            yield from _quantiles(named, measured, at_most(CYCLE_MS_MAX) if pause_ms else None)
            yield from _quantiles(f"{named}, without a store", plain, None)


def _quantiles(name: str, runs: Sequence[Sequence[float]], limit: Limit | None) -> Iterator[Figure]:
    yield Figure(name=f"{name}: p99", unit="ms", runs=tuple(quantile(run, 0.99) for run in runs), limit=limit)
    yield Figure(name=f"{name}: p50", unit="ms", runs=tuple(quantile(run, 0.5) for run in runs))


class Competitors:
    """Processes that wait for jobs."""

    def __init__(self, processes: "Sequence[subprocess.Popen[str]]") -> None:
        self._processes = processes

    def on_a_file(self, cycles: int, pause_ms: float) -> list[float]:
        """Have them compete on a new file; the milliseconds of every cycle."""
        with TemporaryDirectory(prefix="dtms-bench-", ignore_cleanup_errors=True) as folder:
            url = f"sqlite:///{(Path(folder) / 'leases.db').as_posix()}"
            asyncio.run(_made(url))
            return self.together(url, cycles, pause_ms)

    def together(self, url: str, cycles: int, pause_ms: float) -> list[float]:
        """Begin when all are ready, and collect what they measured.

        Raises:
            CannotMeasure: when one of them failed.
        """
        for seed, process in enumerate(self._processes):
            job = Job(url=url, cycles=cycles, tickets=TICKETS, pause_ms=pause_ms, seed=seed)
            _tell(process, json.dumps(asdict(job)))
        if any(_heard(process) != READY for process in self._processes):
            raise CannotMeasure("a process that should compete for leases did not start")
        for process in self._processes:
            _tell(process, "go")
        return [ms for process in self._processes for ms in _result(_heard(process)).ms]


@contextmanager
def competitors(count: int) -> "Iterator[Competitors]":
    """Start processes, and end them: none outlives the benchmark."""
    command = [sys.executable, "-m", "dtms.bench.competing"]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) for _ in range(count)]
    try:
        yield Competitors(started)
    finally:
        for process in started:
            process.kill()
            process.communicate()


async def _made(url: str) -> None:
    store = SqlStore(url, SystemClock())
    await store.open()
    await store.close()


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    with suppress(OSError):  # that it is gone is heard
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _heard(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a process, nothing when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _result(line: str) -> Result:
    try:
        return Result(**json.loads(line))
    except ValueError as error:
        raise CannotMeasure("a process that competed for leases failed") from error

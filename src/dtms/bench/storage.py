"""The store on a real file: how long a commit takes until it is durable."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.bench.figures import Figure, quantile
from dtms.bench.measure import MS, repeated, timed_async
from dtms.bench.trades import make
from dtms.domain.market import Tick
from dtms.ports.store import Unit

RUNS = 5
COMMITS = 200
TOGETHER = 100
Say = Callable[[str], None]


def measure_store(say: Say, runs: int = RUNS, commits: int = COMMITS) -> Iterator[Figure]:
    """Measure commits one after another, and many at once."""
    say("store: durable commits")
    with TemporaryDirectory(prefix="dtms-bench-", ignore_cleanup_errors=True) as folder:
        single, together = asyncio.run(_measured(Path(folder) / "bench.db", runs, commits))
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        figures = tuple(quantile(run, share) for run in single)
        yield Figure(name=f"store, one durable commit: {word}", unit="ms", runs=figures)
    yield Figure(name=f"store, {TOGETHER} commits at once", unit="ms", runs=tuple(together))


async def _measured(path: Path, runs: int, commits: int) -> tuple[list[list[float]], list[float]]:
    clock = SystemClock()
    store = SqlStore(f"sqlite:///{path.as_posix()}", clock)
    await store.open()
    numbers = iter(range(1_000_000))

    async def commit() -> None:
        number = next(numbers)
        await store.commit(Unit(create=(make(number, "EURUSD", Tick(0, 1.1, 1.1001), clock.market_ms()),)))

    async def at_once() -> None:
        await asyncio.gather(*(commit() for _ in range(TOGETHER)))

    try:
        await commit()
        single = [[seconds * MS for seconds in await repeated(commit, commits)] for _ in range(runs)]
        return single, [await timed_async(at_once) * MS for _ in range(runs)]
    finally:
        await store.close()

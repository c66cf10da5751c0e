"""Passes over many trades when nothing is due, and the reading of views: what a cycle costs the engine."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from dtms.bench.figures import Figure, Limit, at_most, quantile
from dtms.bench.measure import MS, CannotMeasure, repeated, settled_memory, timed
from dtms.bench.rig import Rig, make_rig
from dtms.bench.trades import BRINK
from dtms.domain.errors import FeedStale
from dtms.market.view import ViewCache, evaluate

SYMBOLS = 20
RUNS = 5
PASS_MS_MAX = 30.0
LIMITED = 10_000
"""The number of trades for which the limit is stated."""
PASSES = {1_000: 50, 10_000: 50, 100_000: 6}
"""Passes in a run, by the number of trades."""

Say = Callable[[str], None]


def measure_passes(say: Say) -> Iterator[Figure]:
    """Measure deep and fast passes over growing numbers of trades."""
    for count, passes in PASSES.items():
        say(f"passes over {count:,} trades")
        yield from asyncio.run(_passes(count, passes))
    yield from asyncio.run(_brink(LIMITED, 10))


async def _passes(count: int, passes: int, symbols: int = SYMBOLS, runs: int = RUNS) -> list[Figure]:
    rig = await make_rig(count, symbols)
    tickets = rig.tickets
    with settled_memory():
        deep = await _times(lambda: rig.monitor.deep_pass(tickets), passes, runs)
        fast = await _times(lambda: rig.monitor.fast_pass(tickets, rig.snapshot), passes, runs)
    rig.require_quiet()
    await rig.store.close()
    limit = at_most(PASS_MS_MAX) if count == LIMITED else None
    named, note = f"{count:,} trades on {symbols} symbols", f"{passes} passes a run"
    return [
        *_both(f"deep pass, {named}", deep, limit, note),
        *_both(f"fast pass, {named}", fast, limit, note),
    ]


def _both(name: str, runs: Sequence[Sequence[float]], limit: Limit | None, note: str) -> list[Figure]:
    tops, middles = (tuple(quantile(run, share) for run in runs) for share in (0.99, 0.5))
    return [
        Figure(name=f"{name}: p99", unit="ms", runs=tops, limit=limit, note=note),
        Figure(name=f"{name}: p50", unit="ms", runs=middles),
    ]


async def _brink(count: int, passes: int, symbols: int = SYMBOLS, runs: int = RUNS) -> list[Figure]:
    """Measure passes in which trades have to walk the table: one in six, and all."""
    rig = await make_rig(count, symbols, BRINK)
    with settled_memory():
        some = await _times(lambda: rig.monitor.deep_pass(rig.tickets), passes, runs)
        every = await _times(lambda: _walk(rig), 1, runs)
    rig.require_quiet()
    await rig.store.close()
    named = f"{count:,} trades on {symbols} symbols"
    return [
        Figure(name=f"deep pass, {named}, one in six on the brink: p50", unit="ms", runs=_middles(some)),
        Figure(name=f"every trade through the whole table, {named}", unit="ms", runs=_middles(every)),
    ]


def _middles(runs: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(quantile(run, 0.5) for run in runs)


async def _times(work: Callable[[], Awaitable[object]], passes: int, runs: int) -> list[list[float]]:
    """Milliseconds of each pass, run by run, after one pass to warm up."""
    await work()
    return [[seconds * MS for seconds in await repeated(work, passes)] for _ in range(runs)]


async def _walk(rig: Rig) -> None:
    """Step every trade through the table, without the monitor's look at whether that could do anything."""
    for watch in rig.book.watches.values():
        await rig.cycle.step(watch, rig.book.symbols[watch.trade.symbol], adding=False)


def measure_views(say: Say) -> Iterator[Figure]:
    """Measure the reading of 20 symbols' views, and what a whole closed M15 bar costs with 10,000 trades."""
    say(f"views of {SYMBOLS} symbols")
    yield from asyncio.run(_views(LIMITED, SYMBOLS, 10))


async def _views(count: int, symbols: int, runs: int) -> list[Figure]:
    rig = await make_rig(count, symbols)
    caches = {s.name: ViewCache() for s in rig.symbols}
    _read_views(rig, caches)
    with settled_memory():
        m5 = [timed(lambda: _read_views(rig, caches)) * MS for _ in range(runs)]
        m15 = [timed(lambda: _read_views(rig, {})) * MS for _ in range(runs)]
        both = [s * MS for s in await repeated(lambda: _bar_closed(rig), runs)]
    rig.require_quiet()
    await rig.store.close()
    return [
        Figure(name=f"views of {symbols} symbols at an M5 close", unit="ms", runs=tuple(m5)),
        Figure(name=f"views of {symbols} symbols at an M15 close", unit="ms", runs=tuple(m15)),
        Figure(
            name=f"views at an M15 close and deep pass, {count:,} trades on {symbols} symbols",
            unit="ms",
            runs=tuple(both),
        ),
    ]


def _read_views(rig: Rig, caches: dict[str, ViewCache]) -> None:
    for symbol in rig.symbols:
        bars, cache = symbol.bars, caches.get(symbol.name)
        try:
            evaluate(m5=bars.m5(), m15=bars.m15(), flow=bars.flow(), settings=rig.desk.settings, cache=cache)
        except FeedStale as error:
            raise CannotMeasure(str(error)) from error


async def _bar_closed(rig: Rig) -> None:
    _read_views(rig, {})
    await rig.monitor.deep_pass(rig.tickets)

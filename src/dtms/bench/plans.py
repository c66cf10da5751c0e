"""A round over many plans of which none is due: the main program's own step, between two closes and just after one."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Never

from dtms.adapters.virtual_loop import run_virtual
from dtms.bench import planned
from dtms.bench.figures import Figure, at_most, quantile
from dtms.bench.main_parts import Parts, make_parts
from dtms.bench.measure import MS, CannotMeasure, settled_memory, timed_async
from dtms.domain.trade import Mode
from dtms.execute.managing.sights import Closes
from dtms.execute.managing.steps import Look
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.planning.runner import Planner

SYMBOLS = 20
PLANS = 1_000
RUNS = 5
ROUNDS = 20
ROUND_MS_MAX = 50.0
BAR_S = 300.0
LATER_S = 2.0
"""Market time after a close at which it is looked at."""

Say = Callable[[str], None]


class NothingFires:
    """Executes nothing: a plan that fires is a fault of the benchmark."""

    async def execute(self, *_: object, **__: object) -> Never:
        raise CannotMeasure("a plan fired")

    async def cancel(self, *_: object, **__: object) -> Never:
        raise CannotMeasure("an order was to be removed")


@dataclass(slots=True)
class Rig:
    """The step, and what it looks at."""

    parts: Parts
    planner: Planner
    look: Look
    count: int
    rounds: int = 0
    written: int = 0
    """Transactions that were committed in rounds."""

    async def round(self) -> None:
        """Judge every plan; the next round's time has come."""
        self.look = replace(self.look, now_ms=self.look.now_ms + int(self.look.settings.plans.check_s * 1000))
        self.rounds, before = self.rounds + 1, self.parts.store.commits
        await self.planner.run(self.look)
        self.written += self.parts.store.commits - before

    async def until_close(self) -> None:
        """Let market time pass until M5 bars have closed, and read them."""
        now_s = self.parts.clock.market_ms() / 1000
        await self.parts.clock.sleep_market(BAR_S - now_s % BAR_S + LATER_S)
        closes = await _read(self.parts, self.planner)
        self.look = replace(self.look, fresh=closes.fresh, now_ms=self.parts.clock.market_ms())
        if len(closes.closed) != len(self.parts.symbols):
            raise CannotMeasure(f"bars of {len(closes.closed)} symbols closed, not of all")

    def require_quiet(self) -> None:
        """Refuse figures of rounds in which a plan ended or was not judged, or anything was sent or written.

        Raises:
            CannotMeasure: with what it was.
        """
        counts, open_plans = self.planner.counts, len(self.planner.board.cards)
        if open_plans != self.count or counts.fired or self.parts.requests or self.written:
            raise CannotMeasure(f"plans were not quiet: {open_plans} left, {self.written} commits, {counts}")
        if counts.judged != self.count * self.rounds or counts.stale:
            raise CannotMeasure(f"{counts.judged} judgements in {self.rounds} rounds; stale: {counts.stale}")


async def make_rig(count: int, symbols: int) -> Rig:
    """Put the step together over ``count`` plans."""
    parts = await make_parts(symbols)
    bench = parts.managers.bench
    desk = PlanDesk(
        broker=parts.broker,
        store=parts.store,
        clock=parts.clock,
        journal=bench.journal,
        trading=NothingFires(),
        sources=bench.sources,
        settings=lambda: bench.settings,
        mode=Mode.AUTO,
    )
    planner = Planner(desk)
    for plan in planned.plans(count, parts.symbols, parts.clock.market_ms(), bench.settings):
        planner.board.put(plan)
    await _read(parts, planner)
    look = Look(
        now_ms=parts.clock.market_ms(),
        snapshot=await parts.broker.snapshot([s.name for s in parts.symbols]),
        is_new=True,
        symbols={s.name: s for s in parts.symbols},
        settings=bench.settings,
        mode=Mode.AUTO,
        halted=False,
    )
    return Rig(parts=parts, planner=planner, look=look, count=count)


async def _read(parts: Parts, planner: Planner) -> Closes:
    return await parts.sights.read(await parts.sights.symbols(planner.wants()))


def measure_plans(say: Say, count: int = PLANS, symbols: int = SYMBOLS, runs: int = RUNS) -> Iterator[Figure]:
    """Measure rounds with patterns that are known, and rounds for which they are read anew."""
    say(f"rounds over {count:,} plans")
    named = f"{count:,} plans on {symbols} symbols"
    known = asyncio.run(_known(count, symbols, runs))
    for share, word in ((0.99, "p99"), (0.5, "p50")):
        figures, limit = tuple(quantile(run, share) for run in known), at_most(ROUND_MS_MAX) if share > 0.5 else None
        yield Figure(name=f"round, {named}: {word}", unit="ms", runs=figures, limit=limit, note=f"{ROUNDS} a run")
    five, fifteen = run_virtual(_closed(count, symbols))
    limit = at_most(ROUND_MS_MAX)
    yield Figure(name=f"round just after an M5 close, {named}", unit="ms", runs=tuple(five), limit=limit)
    yield Figure(name=f"round just after an M15 close, {named}", unit="ms", runs=tuple(fifteen), limit=limit)


async def _known(count: int, symbols: int, runs: int) -> list[list[float]]:
    """Milliseconds of each round, run by run, after one round to warm up."""
    rig = await make_rig(count, symbols)
    await rig.round()
    with settled_memory():
        times = [[await timed_async(rig.round) * MS for _ in range(ROUNDS)] for _ in range(runs)]
    rig.require_quiet()
    await rig.parts.store.close()
    return times


async def _closed(count: int, symbols: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the round after each M5 close at which no M15 bar closed, and at which one did."""
    rig = await make_rig(count, symbols)
    await rig.round()
    found: tuple[list[float], list[float]] = ([], [])
    with settled_memory():
        while min(len(times) for times in found) < RUNS:
            await rig.until_close()
            times = found[rig.look.now_ms // 1000 // int(BAR_S) % 3 == 0]
            times.append(await timed_async(rig.round) * MS)
    rig.require_quiet()
    await rig.parts.store.close()
    return found

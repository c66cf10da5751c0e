"""A pass of the managers beside DTMS over many positions when nothing is to be done, and the look at whether all are
still there: what a cycle costs the main program."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dtms.bench import managed
from dtms.bench.figures import Figure, Limit, at_most, quantile
from dtms.bench.main_parts import Parts, make_parts, tick_of
from dtms.bench.measure import MS, CannotMeasure, repeated, settled_memory
from dtms.domain.errors import PermissionGone
from dtms.domain.market import Tick
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import State
from dtms.execute.book import SymbolWatch
from dtms.execute.managing.deliberation import Deliberation
from dtms.execute.managing.floor import Charge
from dtms.execute.managing.managers import Managers
from dtms.execute.managing.presence import Presence
from dtms.execute.managing.sights import Sights
from dtms.market.levels import LevelsBook

SYMBOLS = 20
POSITIONS = 1_000
RUNS = 5
PASSES = 20
PASS_MS_MAX = 100.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The parts that a pass consists of, with positions on the floor."""

    parts: Parts
    deliberation: Deliberation
    presence: Presence
    symbols: Sequence[SymbolWatch]
    snapshot: Snapshot
    """What the broker would show if it held every position exactly as remembered."""
    commits: int
    """Transactions that were committed when the rig was made."""

    @property
    def charges(self) -> list[Charge]:
        return list(self.parts.managers.floor.charges.values())

    async def look(self) -> None:
        """Let the managers look at every position.

        Raises:
            CannotMeasure: when anything is wanted, or a look failed.
        """
        await self._run(self.deliberation)

    async def look_anew(self) -> None:
        """Look as just after an M15 close: levels and gates of every symbol are read anew."""
        for symbol in self.symbols:
            symbol.levels = LevelsBook()
        managers = self.parts.managers
        sights = Sights(managers.bench, managers.floor)
        await self._run(Deliberation(managers.bench, managers.floor, sights))

    async def _run(self, deliberation: Deliberation) -> None:
        try:
            wanted, failed = await deliberation.run(self.charges, self.snapshot)
        except PermissionGone as error:  # no lease is held here, so that nothing can be written
            raise CannotMeasure("something is to be done: a manager wants to remember what it saw") from error
        if wanted or failed:
            raise CannotMeasure(f"something is to be done: {(wanted or failed)[0]!s:.300}")

    def require_quiet(self) -> None:
        """Refuse figures that were taken while something was sent or written, or of positions that nobody judged.

        Raises:
            CannotMeasure: with what it was.
        """
        sent = self.parts.requests
        written = self.parts.store.commits - self.commits
        if sent or written:
            raise CannotMeasure(f"the managers were not quiet: {sent} requests, {written} commits")
        blind = next((c for c in self.charges if not c.notes or "position" in c.notes), None)
        if blind is not None:
            raise CannotMeasure(f"position {blind.managed.ticket} was not judged: {dict(blind.notes)}")


async def make_rig(count: int, symbols: int) -> Rig:
    """Build the main program's managers over ``count`` positions, half of them of each manager."""
    parts = await make_parts(symbols)
    bench, floor, sights = parts.managers.bench, parts.managers.floor, parts.sights
    held = _fill(parts.managers, count, {s.name: tick_of(s) for s in parts.symbols})
    watched = await sights.symbols({})
    await sights.read(watched)
    snapshot = replace(await parts.broker.snapshot([s.name for s in watched]), positions=held)
    floor.take(snapshot)
    return Rig(
        parts=parts,
        deliberation=Deliberation(bench, floor, sights),
        presence=Presence(bench, floor),
        symbols=watched,
        snapshot=snapshot,
        commits=parts.store.commits,
    )


def _fill(managers: Managers, count: int, ticks: dict[str, Tick]) -> dict[int, Position]:
    """Put positions into the managers' hands: Universal's own, and Intelligent Exit's beside a DTMS at rest."""
    bench, floor = managers.bench, managers.floor
    now, states = bench.clock.market_ms(), {}
    held = {p.ticket: p for p in managed.positions(count, ticks, now)}
    for number, position in enumerate(held.values()):
        if number < count // 2:
            charge = floor.add(managed.universal(number, position, len(ticks), now, bench.settings))
            floor.ownerships[position.ticket] = managed.owned(charge.managed)
        else:
            floor.add(managed.exits(number, position, len(ticks), now, bench.settings))
            states[position.ticket] = State.HEALTHY
    floor.states = states
    return held


def measure_managers(say: Say, count: int = POSITIONS, symbols: int = SYMBOLS, runs: int = RUNS) -> Iterator[Figure]:
    """Measure passes of the managers over positions that need nothing."""
    say(f"a pass of the managers over {count:,} positions")
    yield from asyncio.run(_measured(count, symbols, runs))


async def _measured(count: int, symbols: int, runs: int) -> list[Figure]:
    rig = await make_rig(count, symbols)
    with settled_memory():
        quiet = await _times(rig.look, runs)
        anew = await _times(rig.look_anew, runs)
        present = await _times(lambda: rig.presence.check(rig.snapshot), runs)
    rig.require_quiet()
    await rig.parts.store.close()
    named = f"{count:,} positions on {symbols} symbols"
    limit = at_most(PASS_MS_MAX)
    return [
        *_both(f"managers' pass, {named}", quiet, limit),
        *_both(f"managers' pass, {named}, levels and gates read anew", anew, limit),
        *_both(f"positions' presence, {named}", present, None),
    ]


async def _times(work: Callable[[], Awaitable[object]], runs: int) -> list[list[float]]:
    """Milliseconds of each pass, run by run, after one pass to warm up."""
    await work()
    return [[seconds * MS for seconds in await repeated(work, PASSES)] for _ in range(runs)]


def _both(name: str, runs: Sequence[Sequence[float]], limit: Limit | None) -> list[Figure]:
    tops, middles = (tuple(quantile(run, share) for run in runs) for share in (0.99, 0.5))
    return [
        Figure(name=f"{name}: p99", unit="ms", runs=tops, limit=limit, note=f"{PASSES} passes a run"),
        Figure(name=f"{name}: p50", unit="ms", runs=middles),
    ]

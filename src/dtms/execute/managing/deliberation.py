"""One pass of the managers over positions that are due: what each wants to be done, and what it noticed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from dtms.decide.proposals import Proposal, Proposed, Sighting
from dtms.domain.actions import ActionKind, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.managed import Managed
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import NEVER, Charge, Floor, signed
from dtms.execute.managing.sights import Scene, Sights
from dtms.execute.managing.table import MANAGERS
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

SLICE = 128
"""Positions between two moments at which the event loop may serve others."""
AGAIN_MS = 1_000
URGENCY = {ActionKind.BREAKEVEN: 0, ActionKind.TAKE_PARTIAL: 1, ActionKind.TRAIL: 2}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One proposal, whose it is, and what it was decided on."""

    charge: Charge
    proposal: Proposal
    sighting: Sighting
    memory: Managed
    """The memory that it follows on."""

    @property
    def urgency(self) -> int:
        return URGENCY.get(self.proposal.action.kind, len(URGENCY))


@dataclass(slots=True)
class _Pass:
    """What one pass came to so far."""

    now_ms: int
    scenes: dict[str, Scene | str] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    noticed: list[tuple[Charge, Managed]] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    failed: list[tuple[Charge, Exception]] = field(default_factory=list)


class Deliberation:
    """Lets the managers look at positions."""

    def __init__(self, bench: Bench, floor: Floor, sights: Sights) -> None:
        self._bench = bench
        self._floor = floor
        self._sights = sights
        self.looks = 0

    async def run(
        self, due: Sequence[Charge], snapshot: Snapshot
    ) -> tuple[list[Wanted], list[tuple[Charge, Exception]]]:
        """Return what the managers want, most urgent first, and whose look failed; commit what they noticed.

        Raises:
            StoreFailed, PermissionGone: when that could not be kept.
        """
        here = _Pass(now_ms=snapshot.taken_ms)
        for index, charge in enumerate(due):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            try:
                self._look(charge, here)
            except Exception as error:  # noqa: BLE001 - the edge of one position's look: recorded by the caller
                here.failed.append((charge, error))
        await self._keep(here)
        return sorted(here.wanted, key=lambda one: one.urgency), here.failed

    def _scene(self, symbol: str, here: _Pass) -> Scene | str:
        if symbol not in here.scenes:
            watch = self._floor.book.symbols.get(symbol)
            here.scenes[symbol] = f"the broker has no {symbol}" if watch is None else self._sights.scene(watch)
        return here.scenes[symbol]

    def _look(self, charge: Charge, here: _Pass) -> None:
        managed, settings, now = charge.managed, self._bench.settings, here.now_ms
        manager, position = MANAGERS[managed.manager], self._floor.position(managed)
        scene = self._scene(managed.symbol, here)
        self.looks += 1
        charge.looked_ms, charge.next_ms = now, now + int(manager.check_s(settings) * 1000)
        if (why := _hindrance(charge, scene)) is not None or position is None or isinstance(scene, str):
            charge.notes, charge.next_ms = {"position": why or "not listed by the broker"}, now + AGAIN_MS
            return
        sighting = self._sights.sighting(charge, position, scene, now)
        proposed = manager.propose(sighting, settings)
        charge.notes = proposed.notes
        waits_at = manager.waits_at(proposed.memory or managed, settings)
        charge.wakes_at = NEVER if waits_at is None else signed(waits_at, managed.side)
        self._take(charge, proposed, sighting, here)

    def _take(self, charge: Charge, proposed: Proposed, sighting: Sighting, here: _Pass) -> None:
        ticket, memory = charge.managed.ticket, charge.managed
        if proposed.memory is not None and self._floor.mode(ticket, self._bench.mode) is Mode.AUTO:
            here.noticed.append((charge, proposed.memory))
            memory = proposed.memory
        here.wanted += [Wanted(charge, proposal, sighting, memory) for proposal in proposed.proposals]
        for told in proposed.alerts:
            if told not in charge.warned:
                charge.warned.add(told)
                here.facts.append(
                    self._bench.fact(FactKind.NEEDS_ATTENTION, told, charge.managed, {"alert": "WARNING"})
                )

    async def _keep(self, here: _Pass) -> None:
        """Commit what managers remember of what they saw, and the alerts that they raise."""
        still = [(charge, memory) for charge, memory in here.noticed if self._floor.charges.get(charge.key) is charge]
        if still or here.facts:
            await self._bench.store.commit(Unit(managed=[memory for _, memory in still], facts=here.facts))
        for charge, memory in still:
            charge.managed = memory
        self._bench.journal.tell(here.facts)


def _hindrance(charge: Charge, scene: Scene | str) -> str | None:
    """Return why a position is not to be touched now.

    A part whose fate is unknown keeps no stop from being moved; another part is not asked for beside it.
    """
    if isinstance(scene, str):
        return scene
    if not charge.managed.is_active:
        return "it has ended"
    moving = (i for i in charge.open_intents.values() if i.action.kind.moves_stop)
    if (unknown := next(moving, None)) is not None and unknown.state is not IntentState.NEEDS_HUMAN:
        return f"nobody can say yet what became of intent {unknown.number}"
    return "somebody changes it just now" if charge.lock.locked() else None

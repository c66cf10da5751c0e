"""Wherever the process dies, a plan fires once: judged by the terminal's ledger, after the next process took over."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Send, Spoiling
from tests.planning.plot import Plot, played

from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.plans import Plan, PlanStatus
from dtms.ports.store import Unit

SPOTS = [(at, after) for at in (1, 2) for after in (False, True)]
"""The commits of a firing: the intent with the plan's step, the outcome with the next; before, or after it."""


@dataclass(slots=True)
class Dying:
    """A store whose process dies at one of the commits that concern a plan that was fired."""

    plain: SqlStore
    at: int
    after: bool
    died: asyncio.Event = field(default_factory=asyncio.Event)
    seen: int = 0

    async def commit(self, unit: Unit) -> Any:
        if not unit.intents:
            return await self.plain.commit(unit)
        self.seen += 1
        if self.seen != self.at:
            return await self.plain.commit(unit)
        if self.after:
            await self.plain.commit(unit)
        self.died.set()
        return await asyncio.Event().wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@dataclass(slots=True)
class Dies:
    """Wraps a store, and tells when its process is dead."""

    at: int
    after: bool
    made: list[Dying] = field(default_factory=list)

    def __call__(self, plain: SqlStore) -> Any:
        self.made.append(Dying(plain, self.at, self.after))
        return self.made[-1]

    async def dead(self) -> None:
        await self.made[0].died.wait()


async def survived(plot: Plot, plan: Plan, status: PlanStatus) -> Plot:
    """Go on in the next process, until the plan is there; see that it fired once, and stays so."""
    other = await plot.next_life()
    found = await other.until(plan, status, minutes=5)
    assert found.status is status, found.reason
    await other.play(3)
    numbers = {d.magic for d in other.openings()}
    assert len(numbers) == len(other.openings()) == 1
    assert len(other.positions()) == 1
    done = await other.plan(plan)
    assert done.status is status
    (row,) = await other.store.ownerships([found.ticket or 0])
    assert row.owner == "universal_sl_tp_manager"
    assert [live.managed.ticket for live in other.managers.universal()] == [found.ticket]
    return other


@pytest.mark.parametrize(("at", "after"), SPOTS)
def test_a_process_that_dies_at_a_commit_leaves_a_plan_that_fires_once(tmp_path: Path, at: int, after: bool) -> None:
    dies = Dies(at, after)

    async def scene(plot: Plot) -> None:
        plan = await plot.make()
        await dies.dead()
        await plot.die()
        other = await survived(plot, plan, PlanStatus.EXECUTED)
        await other.die()

    played(tmp_path, scene, wrap=dies)


@pytest.mark.parametrize("sends", [False, True])
def test_a_process_that_dies_while_it_sends_leaves_a_plan_that_fires_once(tmp_path: Path, sends: bool) -> None:
    died = asyncio.Event()

    def dying(request: Mapping[str, Any], send: Send) -> Any:
        if sends:
            send(request)
        died.set()
        raise asyncio.CancelledError

    async def scene(plot: Plot) -> None:
        plot.terminal.spoil = dying
        plan = await plot.make()
        await died.wait()
        await plot.die()
        plot.terminal.spoil = None
        assert (await plot.plan(plan)).status is PlanStatus.EXECUTING
        other = await survived(plot, plan, PlanStatus.EXECUTED)
        await other.die()

    played(tmp_path, scene)


@pytest.mark.parametrize("executes", [True, False])
def test_a_lost_answer_keeps_the_plan_executing_until_it_is_known(tmp_path: Path, executes: bool) -> None:
    async def scene(plot: Plot) -> None:
        plot.terminal.spoil = Spoiling("E", executes=executes)
        plan = await plot.until(await plot.make(), PlanStatus.EXECUTING)
        assert plan.status is PlanStatus.EXECUTING
        assert len(plot.terminal.sent) == 1
        done = await plot.until(plan, PlanStatus.EXECUTED, minutes=5)
        assert done.status is PlanStatus.EXECUTED, done.reason
        assert len(plot.openings()) == 1
        assert len(plot.terminal.sent) == (1 if executes else 2)

    played(tmp_path, scene)

"""What a person sets while a plan is on its way to the broker: judged in the commit of its intent."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.planning.plot import Plot, played

from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.plans import PlanStatus
from dtms.domain.trade import Mode
from dtms.ports.store import Controls, Unit


@dataclass(slots=True)
class Setting:
    """A store in which somebody sets something just before the first intent is committed."""

    plain: SqlStore
    controls: Controls
    is_done: bool = False

    async def commit(self, unit: Unit) -> Any:
        if unit.intents and not self.is_done:
            self.is_done = True
            await self.plain.commit(Unit(controls=self.controls))
        return await self.plain.commit(unit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@pytest.mark.parametrize(
    "known", [{"mode": Mode.OBSERVE}, {"mode": Mode.ADVISE}, {"halted": True}], ids=["observe", "advise", "halt"]
)
def test_a_switch_between_look_and_commit_stops_the_plan_and_it_fires_when_that_is_lifted(
    tmp_path: Path, known: Mapping[str, Any]
) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make()
        await plot.play(2)
        row = await plot.plan(plan)
        assert row.status is PlanStatus.PENDING
        assert row.reason
        assert plot.terminal.sent == []
        assert await plot.store.intents() == []
        await plot.set(mode=Mode.AUTO)
        done = await plot.until(plan, PlanStatus.EXECUTED, minutes=10)
        assert done.status is PlanStatus.EXECUTED, done.reason
        assert len(plot.openings()) == 1

    played(tmp_path, scene, wrap=lambda plain: Setting(plain, Controls(**known)))

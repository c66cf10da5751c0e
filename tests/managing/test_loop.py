"""What goes wrong with one position, or in one step, is recorded and leaves the rest of the loop alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from tests.managing.site import Market, Site, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.first_look import DtmsLook
from dtms.decide.proposals import Proposed, Sighting
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import FactKind
from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Owner, State
from dtms.execute.managing import table
from dtms.execute.managing.steps import Look
from dtms.execute.service import Registration
from dtms.settings import Settings

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
R, DUE_MIN = 0.0008, 40


@dataclass(slots=True)
class Watching:
    """A step that notes what it was shown."""

    name: str = "watching"
    fails: Exception | None = None
    looks: list[Look] = field(default_factory=list)
    recovered: int = 0

    def wants(self) -> Mapping[str, frozenset[Timeframe]]:
        return {EUR.symbol: frozenset({Timeframe.M1})}

    async def recover(self, look: Look) -> None:
        self.recovered += 1
        self.looks.append(look)

    async def run(self, look: Look) -> None:
        self.looks.append(look)
        if self.fails is not None:
            raise self.fails


def test_a_step_sees_the_market_that_it_wants_and_the_newest_lists(tmp_path: Path) -> None:
    async def main() -> None:
        step = Watching()
        site = await Site.begin(EUR, tmp_path, steps=(step,), settings=settings_for_tests(250))
        await site.play(1)
        ticket = site.open_away(Side.SHORT, R)
        await site.play(2 / 60)
        newest = step.looks[-1]
        assert ticket in newest.snapshot.positions
        assert newest.now_ms - newest.snapshot.taken_ms <= 1_250
        watch = newest.symbols[EUR.symbol]
        assert len(watch.bars.bars(Timeframe.M1))
        assert newest.tick(EUR.symbol) == watch.tick
        assert step.recovered == 1
        news = [look for look in step.looks if look.is_new]
        assert len(news) < len(step.looks) / 2, "lists are read once a second, quotes four times"
        await site.end()

    run_virtual(main())


def test_a_step_that_fails_is_told_once_and_the_managers_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        step = Watching(fails=ValueError("broken"))
        site = await Site.begin(EUR, tmp_path, steps=(step,), settings=settings_for_tests(5_000))
        await site.play(1)
        ticket = site.open_away(Side.SHORT, R)
        await site.managers.register_universal(ticket, "default_standard")
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 2
        kinds = frozenset({FactKind.CYCLE_FAILED.value})
        (fact,) = await site.store.facts(kinds=kinds)
        assert fact.details["step"] == "watching"
        await site.end()

    run_virtual(main())


def test_one_position_that_breaks_its_manager_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        site = await Site.begin(EUR, tmp_path, settings=settings_for_tests(5_000))
        await site.play(1)
        broken, sound = site.open_away(Side.SHORT, R), site.open_away(Side.SHORT, R)
        manager = table.MANAGERS[Owner.UNIVERSAL]

        def propose(sighting: Sighting, settings: Settings) -> Proposed:
            if sighting.managed.ticket == broken:
                raise ZeroDivisionError("made to fail")
            return manager.propose(sighting, settings)

        monkeypatch.setitem(table.MANAGERS, Owner.UNIVERSAL, replace(manager, propose=propose))
        for ticket in (broken, sound):
            await site.managers.register_universal(ticket, "default_standard")
        await site.play(DUE_MIN)
        assert (len(site.stops(broken)), len(site.stops(sound))) == (1, 2)
        (fact,) = await site.facts(broken, FactKind.CYCLE_FAILED)
        assert "ZeroDivisionError" in fact.summary
        (managed,) = await site.store.managed(ticket=broken)
        assert managed.needs_attention
        await site.end()

    run_virtual(main())


def test_an_act_that_the_broker_leaves_unanswered_is_that_positions_trouble(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(EUR, tmp_path, settings=settings_for_tests(5_000))
        await site.play(1)
        ticket = site.open_away(Side.SHORT, R)
        await site.managers.register_universal(ticket, "default_standard")
        carrier: Any = site.managers.bench.carrier
        carry, failures = carrier.carry, [BrokerUnavailable("not for this one")]

        async def once(task: Any) -> Any:
            if failures:
                raise failures.pop()
            return await carry(task)

        carrier.carry = once
        await site.play(DUE_MIN)
        assert site.managers.health().ready
        assert len(site.stops(ticket)) == 2
        await site.end()

    run_virtual(main())


@dataclass(slots=True)
class Told:
    """What DTMS is said to have answered."""

    now: DtmsLook

    def look(self, _: int) -> DtmsLook:
        return self.now


@pytest.mark.parametrize(
    ("look", "moves"),
    [
        (DtmsLook(state=State.HEALTHY, age_s=5), {"trail", "breakeven"}),
        (DtmsLook(state=State.HEDGED, age_s=5), set[str]()),
        (DtmsLook(state=State.HEALTHY, age_s=31), {"breakeven"}),
        (DtmsLook(state=State.HEDGED, age_s=300), set[str]()),
        (DtmsLook(state=None, age_s=inf), {"breakeven"}),
    ],
)
def test_intelligent_exit_asks_before_it_tries_on_trades_of_dtms(
    look: DtmsLook, moves: set[str], tmp_path: Path
) -> None:
    """While DTMS's state is unknown breakeven is allowed and trailing is not; last known defensive is left alone."""

    async def main() -> None:
        quiet = settings_for_tests(
            5_000, protection={"warn_l1": -90.0, "warn_l2": -91.0, "hedge_at": -92.0, "warn_l2_exit": -89.0}
        )
        site = await Site.begin(EUR, tmp_path, looks=Told(look), settings=quiet)
        await site.play(1)
        engine = await site.with_dtms()
        ticket = site.open_away(Side.SHORT, R)
        await engine.register(Registration(ticket=ticket))
        await site.managers.enable_exits(ticket)
        await site.play(DUE_MIN)
        actions = await site.facts(ticket, FactKind.ACTION)
        assert {f.details["rule"] for f in actions if f.details.get("manager")} - {"partial"} == moves
        if not moves:
            assert [f.details["rule"] for f in await site.facts(ticket, FactKind.REFUSAL)] == ["dtms_defensive"]
        await site.end()

    run_virtual(main())

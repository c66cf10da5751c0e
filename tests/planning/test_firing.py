"""A plan fires once: on the market, with its intent, and then belongs to the Universal manager."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Spoiling
from tests.planning.plot import Plot, played

from dtms.decide.plans import Waits
from dtms.domain.actions import IntentState
from dtms.domain.facts import FactKind
from dtms.domain.plans import PlanStatus
from dtms.domain.trade import Mode, Owner
from dtms.execute.trading.service import TradingRefused


def test_a_plan_whose_conditions_hold_opens_one_position_which_the_universal_manager_takes_up(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        made = await plot.make()
        assert made.status is PlanStatus.PENDING
        plan = await plot.until(made, PlanStatus.EXECUTED)
        assert plan.status is PlanStatus.EXECUTED, plan.reason
        (position,) = plot.positions().values()
        assert plan.ticket == position.ticket
        (intent,) = await plot.store.intents()
        assert (intent.number, intent.plan, intent.state) == (plan.intent, plan.id, IntentState.CONFIRMED)
        (row,) = await plot.store.ownerships([position.ticket])
        assert (row.owner, row.strategy_type) == (Owner.UNIVERSAL.value, "default_standard")
        await plot.play(1)
        (live,) = plot.managers.universal()
        assert live.managed.ticket == position.ticket
        assert await plot.store.trade(position.ticket) is None
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_a_plan_waits_until_its_condition_holds_and_says_what_it_waits_for(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        level = plot.tick().bid - 15.0
        plan = await plot.make("SELL", conditions=[{"name": "price_below", "price": level}])
        seen = await plot.plans.get(plan.id)
        assert isinstance(seen.judged, Waits)
        assert "price_below" in seen.judged.reason
        done = await plot.until(plan, PlanStatus.EXECUTED, minutes=30)
        assert done.status is PlanStatus.EXECUTED, done.reason
        assert done.fill_price is not None
        assert level - 50.0 < done.fill_price <= level

    played(tmp_path, scene)


def test_a_position_that_is_closed_closes_its_plan_with_the_deals_figures(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.until(await plot.make(), PlanStatus.EXECUTED)
        assert plan.ticket is not None
        plot.do("act", act="close", ticket=plan.ticket)
        done = await plot.until(plan, PlanStatus.CLOSED, minutes=2)
        assert done.status is PlanStatus.CLOSED, done.reason
        assert "profit" in (done.reason or "")

    played(tmp_path, scene)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ADVISE])
def test_in_a_mode_that_does_not_act_a_plan_is_proposed_once_and_nothing_is_sent(tmp_path: Path, mode: Mode) -> None:
    async def scene(plot: Plot) -> None:
        await plot.set(mode=mode)
        plan = await plot.make()
        await plot.play(5)
        row = await plot.plan(plan)
        assert (row.status, row.proposed) == (PlanStatus.PENDING, True)
        assert len(await plot.facts(FactKind.PROPOSAL)) == 1
        assert plot.terminal.sent == []
        await plot.set(mode=Mode.AUTO)
        assert (await plot.until(plan, PlanStatus.EXECUTED)).status is PlanStatus.EXECUTED

    played(tmp_path, scene)


def test_while_trading_is_halted_nothing_fires_and_the_plan_says_so(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        await plot.set(halted=True)
        plan = await plot.make()
        await plot.play(5)
        row = await plot.plan(plan)
        assert row.status is PlanStatus.PENDING
        assert "halted" in (row.reason or "")
        assert plot.terminal.sent == []
        await plot.set(halted=False)
        assert (await plot.until(plan, PlanStatus.EXECUTED, minutes=20)).status is PlanStatus.EXECUTED

    played(tmp_path, scene)


def test_a_rail_that_refuses_is_recorded_once_and_the_plan_waits(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make(volume=None, risk_pct=0.0001)
        await plot.play(5)
        row = await plot.plan(plan)
        assert row.status is PlanStatus.PENDING
        assert row.reason
        held = [f for f in await plot.facts() if f.details.get("rule")]
        assert len(held) == 1
        assert plot.terminal.sent == []

    played(tmp_path, scene)


@pytest.mark.parametrize(("code", "ends"), [(10019, PlanStatus.FAILED), (10006, PlanStatus.FAILED)])
def test_what_the_broker_refuses_for_good_fails_the_plan(tmp_path: Path, code: int, ends: PlanStatus) -> None:
    async def scene(plot: Plot) -> None:
        plot.terminal.spoil = Spoiling("E", retcode=code, times=99)
        plan = await plot.until(await plot.make(), ends)
        assert plan.status is ends
        assert str(code) in (plan.reason or "")
        await plot.play(5)
        assert len(plot.terminal.sent) == 1

    played(tmp_path, scene)


def test_what_waits_for_its_cause_to_end_is_tried_again_and_ever_later(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plot.terminal.spoil = Spoiling("E", retcode=10018, times=3)
        plan = await plot.until(await plot.make(), PlanStatus.EXECUTED, minutes=15)
        assert plan.status is PlanStatus.EXECUTED, plan.reason
        assert len(plot.terminal.sent) == 4
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_a_price_that_moved_is_asked_for_anew_under_another_number(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plot.terminal.spoil = Spoiling("E", retcode=10004, times=2)
        plan = await plot.until(await plot.make(), PlanStatus.EXECUTED)
        assert plan.status is PlanStatus.EXECUTED, plan.reason
        numbers = [i.number for i in await plot.store.intents()]
        assert len(numbers) == 3
        assert plan.intent == numbers[-1]
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_a_draft_with_faults_is_refused_field_by_field(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        draft = plot.draft(stop_loss=plot.tick().ask + 100.0, conditions=[{"name": "bos_bul"}])
        with pytest.raises(TradingRefused) as caught:
            await plot.plans.create(draft)
        told: Any = caught.value.details["fields"]
        fields = {field["field"]: field for field in told}
        assert set(fields) == {"stop_loss", "conditions[0].name"}
        assert "bos_bull" in fields["conditions[0].name"]["near"]
        assert await plot.store.plans() == []
        with pytest.raises(TradingRefused):
            await plot.plans.create(replace(plot.draft(), symbol="NOPE"))

    played(tmp_path, scene)

"""Brackets and ends: the first to execute ends the others; a price that ran away, and time, end what waits."""

from pathlib import Path

import pytest
from tests.managing.site import settings_for_tests
from tests.planning.plot import Plot, played
from tests.planning.test_crashing import Dies
from tests.planning.test_orders import orders, placed

from dtms.domain.plans import PlanStatus
from dtms.domain.trade import Mode

NEVER = [{"name": "price_below", "price": 4000.0}]
PENDING, CANCELLED, EXECUTED = PlanStatus.PENDING, PlanStatus.CANCELLED, PlanStatus.EXECUTED


def test_the_first_of_a_bracket_to_fire_cancels_the_others_in_the_same_commit(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        waits = await plot.make("SELL", conditions=NEVER, bracket_id="b1")
        other = await plot.make("SELL", conditions=NEVER, bracket_id="b2")
        fires = await plot.make("BUY", bracket_id="b1")
        done = await plot.until(fires, PlanStatus.EXECUTING, EXECUTED)
        lost = await plot.plan(waits)
        assert done.status in (PlanStatus.EXECUTING, EXECUTED)
        assert lost.status is CANCELLED
        assert fires.id in (lost.reason or "")
        assert (await plot.plan(other)).status is PENDING

    played(tmp_path, scene)


def test_both_sides_of_a_bracket_that_are_due_at_once_open_one_position(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        drafts = [plot.draft(side, bracket_id="b") for side in ("BUY", "SELL", "BUY")]
        made = await plot.plans.create_all(drafts)
        await plot.play(3)
        statuses = sorted([(await plot.plan(p)).status.value for p in made if not isinstance(p, Exception)])
        assert statuses == ["cancelled", "cancelled", "executed"]
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_a_crash_after_the_first_fired_leaves_the_others_cancelled(tmp_path: Path) -> None:
    dies = Dies(1, after=True)

    async def scene(plot: Plot) -> None:
        drafts = [plot.draft(side, bracket_id="b") for side in ("BUY", "SELL")]
        first, second = [p for p in await plot.plans.create_all(drafts) if not isinstance(p, Exception)]
        await dies.dead()
        await plot.die()
        other = await plot.next_life()
        assert (await other.until(first, EXECUTED, minutes=5)).status is EXECUTED
        assert (await other.plan(second)).status is CANCELLED
        await other.play(2)
        assert len(other.openings()) == 1
        await other.die()

    played(tmp_path, scene, wrap=dies)


def test_a_side_whose_order_rests_is_removed_when_the_other_one_executes(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        rests = await placed(plot, bracket_id="b")
        fires = await plot.make("SELL", bracket_id="b")
        assert (await plot.until(fires, EXECUTED)).status is EXECUTED
        lost = await plot.until(rests, CANCELLED, minutes=2)
        assert lost.status is CANCELLED, lost.reason
        assert orders(plot) == []
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_a_side_whose_order_rests_is_removed_also_when_the_winner_is_closed_long_ago(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        rests = await placed(plot, bracket_id="b")
        fires = await plot.until(await plot.make("SELL", bracket_id="b"), EXECUTED)
        plot.do("act", act="close", ticket=fires.ticket)
        await plot.set(mode=Mode.OBSERVE)
        await plot.until(fires, PlanStatus.CLOSED, minutes=1)
        await plot.die()
        other = await plot.next_life()
        await other.play(0.5)
        await other.set(mode=Mode.AUTO)
        lost = await other.until(rests, CANCELLED, minutes=9)
        assert lost.status is CANCELLED, lost.reason
        assert orders(other) == []
        await other.play(0.2)
        assert other.planner.board.cards == {}
        await other.die()

    played(tmp_path, scene)


def test_a_plan_expires_in_its_time(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make(conditions=NEVER, expires_hours=0.1)
        await plot.play(5)
        assert (await plot.plan(plan)).status is PENDING
        done = await plot.until(plan, PlanStatus.EXPIRED, minutes=2)
        assert done.status is PlanStatus.EXPIRED
        assert plot.terminal.sent == []

    played(tmp_path, scene)


def test_a_plan_whose_price_ran_away_is_given_up_with_the_figures(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make("SELL", conditions=NEVER)
        done = await plot.until(plan, CANCELLED, minutes=180)
        assert done.status is CANCELLED, done.reason
        assert "ran away" in (done.reason or "")
        assert "limit" in (done.reason or "")

    near = {"runaway_percent": {"crypto": 0.05, "gold": 0.3, "fx": 0.2, "other": 0.3}, "runaway_atr": 0.1}
    played(tmp_path, scene, settings=settings_for_tests(plans=near))


def test_a_plan_is_looked_at_with_every_quote_near_its_price_and_else_every_15_seconds(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        far = await plot.make(conditions=[{"name": "price_below", "price": 5000.0}], entry=5000.0, stop_loss=4900.0)
        await plot.play(2)
        before = plot.planner.counts.judged
        await plot.play(2)
        assert plot.planner.counts.judged - before == pytest.approx(8, abs=1)
        price = plot.tick().bid
        near = await plot.make(
            conditions=[{"name": "price_below", "price": 5000.0}], entry=price, stop_loss=price - 300
        )
        await plot.play(0.5)
        before = plot.planner.counts.judged
        await plot.play(2)
        assert plot.planner.counts.judged - before > 30
        assert {(await plot.plan(p)).status for p in (far, near)} == {PENDING}

    played(tmp_path, scene)

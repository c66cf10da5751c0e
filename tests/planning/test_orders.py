"""Plans that place an order: it rests, is filled, vanishes, or is removed; what it opens is Universal's."""

from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Spoiling
from tests.planning.plot import Plot, played
from tests.planning.test_crashing import SPOTS, Dies

from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Mode, Owner
from dtms.execute.trading.service import TradingRefused

RESTS, EXECUTED = PlanStatus.PENDING_ORDER_PLACED, PlanStatus.EXECUTED


def resting(plot: Plot, away: float = 400.0) -> dict[str, Any]:
    """Draft a limit order so far below the market, with its levels around it."""
    entry = plot.tick().ask - away
    return {
        "order_type": "limit",
        "entry": entry,
        "stop_loss": entry - 200,
        "take_profit": entry + 400,
        "tolerance": None,
    }


def orders(plot: Plot) -> list[int]:
    return [int(order.ticket) for order in plot.terminal.orders_get()]


async def placed(plot: Plot, away: float = 400.0, **changes: Any) -> Plan:
    """Have a plan's order rest at the broker."""
    plan = await plot.until(await plot.make(**(resting(plot, away) | changes)), RESTS)
    assert plan.status is RESTS, plan.reason
    assert orders(plot) == [plan.order]
    return plan


def test_an_order_that_is_filled_gives_its_position_to_the_universal_manager(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot, away=12.0)
        done = await plot.until(plan, EXECUTED, minutes=40)
        assert done.status is EXECUTED, done.reason
        (position,) = plot.positions().values()
        assert done.ticket == position.ticket
        await plot.play(0.2)
        (row,) = await plot.store.ownerships([position.ticket])
        assert (row.owner, row.strategy_type) == (Owner.UNIVERSAL.value, "default_standard")
        assert [live.managed.ticket for live in plot.managers.universal()] == [position.ticket]
        assert len(plot.openings()) == 1

    played(tmp_path, scene)


def test_an_order_that_was_filled_while_nobody_looked_is_found_also_when_its_position_is_closed(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot, away=12.0)
        await plot.die()
        for _ in range(2400):
            plot.tick()  # the terminal moves on when somebody asks it
            if plot.positions():
                break
            await plot.clock.sleep_market(1.0)
        (ticket,) = plot.positions()
        plot.do("act", act="close", ticket=ticket)
        other = await plot.next_life()
        done = await other.until(plan, PlanStatus.CLOSED, minutes=2)
        assert done.status is PlanStatus.CLOSED, done.reason
        assert done.ticket == ticket
        await other.die()

    played(tmp_path, scene)


def test_a_person_takes_a_plan_back_and_its_order_with_it(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot)
        await plot.set(halted=True)
        done = await plot.plans.cancel(plan.id)
        assert done.status is PlanStatus.CANCELLED
        assert orders(plot) == []
        assert plot.positions() == {}

    played(tmp_path, scene)


def test_an_order_that_somebody_removed_in_the_terminal_ends_its_plan(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot)
        answer = plot.terminal.simulation.send_as({"action": 8, "order": plan.order})
        assert answer.retcode == 10009, answer
        done = await plot.until(plan, PlanStatus.CANCELLED, minutes=2)
        assert done.status is PlanStatus.CANCELLED, done.reason
        assert "gone" in (done.reason or "")

    played(tmp_path, scene)


def test_an_order_is_removed_when_its_plan_expires(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot, expires_hours=0.1)
        done = await plot.until(plan, PlanStatus.EXPIRED, minutes=10)
        assert done.status is PlanStatus.EXPIRED, done.reason
        assert orders(plot) == []

    played(tmp_path, scene)


def test_a_mode_that_does_not_act_leaves_the_order_and_says_so(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot, expires_hours=0.1)
        await plot.set(mode=Mode.OBSERVE)
        await plot.play(8)
        held = await plot.plan(plan)
        assert held.status is RESTS
        assert "mode" in (held.reason or "")
        assert orders(plot) == [plan.order]
        await plot.set(mode=Mode.AUTO)
        assert (await plot.until(plan, PlanStatus.EXPIRED, minutes=10)).status is PlanStatus.EXPIRED

    played(tmp_path, scene)


@pytest.mark.parametrize(("at", "after"), SPOTS)
def test_a_process_that_dies_around_a_placing_leaves_one_order(tmp_path: Path, at: int, after: bool) -> None:
    dies = Dies(at, after)

    async def scene(plot: Plot) -> None:
        plan = await plot.make(**resting(plot))
        await dies.dead()
        await plot.die()
        other = await plot.next_life()
        done = await other.until(plan, RESTS, minutes=5)
        assert done.status is RESTS, done.reason
        assert orders(other) == [done.order]
        await other.play(2)
        assert orders(other) == [done.order]
        assert (await other.plan(plan)).status is RESTS
        await other.die()

    played(tmp_path, scene, wrap=dies)


@pytest.mark.parametrize("executes", [True, False])
def test_a_removal_whose_answer_is_lost_ends_the_plan_when_the_order_is_known_to_be_gone(
    tmp_path: Path, executes: bool
) -> None:
    async def scene(plot: Plot) -> None:
        plan = await placed(plot)
        plot.terminal.spoil = Spoiling("S", executes=executes)
        if executes:
            with pytest.raises(TradingRefused):
                await plot.plans.cancel(plan.id)
            done = await plot.until(plan, PlanStatus.CANCELLED, minutes=3)
            assert done.status is PlanStatus.CANCELLED, done.reason
        assert len(orders(plot)) == (0 if executes else 1)

    played(tmp_path, scene)

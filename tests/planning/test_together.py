"""Plans beside others: the DTMS server, another hand in the store, many plans, netting accounts, rails."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.planning.plot import BTCUSD, Plot, played

from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.decide.plans_status import moved
from dtms.domain.plans import PlanStatus
from dtms.domain.trade import Mode, Owner
from dtms.execute.engine import Engine, EngineOptions
from dtms.execute.planning.board import Board
from dtms.execute.trading.service import TradingRefused
from dtms.ports.store import Unit
from dtms.replay import MAGIC_PREFIX

PENDING, EXECUTED = PlanStatus.PENDING, PlanStatus.EXECUTED
NEVER = [{"name": "price_below", "price": 4000.0}]


async def defended(plot: Plot) -> Engine:
    """Start a DTMS server's engine on the same terminal and file."""
    engine = Engine(
        broker=Mt5Broker(LocalLink(plot.gateway), plot.clock, magic_prefix=MAGIC_PREFIX),
        store=SqlStore(f"sqlite:///{(plot.folder / 'store.db').as_posix()}", plot.clock, inline=True),
        clock=plot.clock,
        settings=plot.settings,
        options=EngineOptions(holder="dtms:1:0", mode=Mode.AUTO),
    )
    await engine.start()
    return engine


def test_beside_a_dtms_server_a_plans_position_is_universals_and_never_registered_there(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        engine = await defended(plot)
        plan = await plot.until(await plot.make(), EXECUTED)
        assert plan.status is EXECUTED, plan.reason
        await plot.play(3)
        standing = await plot.store.standing(plan.ticket or 0)
        assert (standing.owner, standing.trade) == (Owner.UNIVERSAL, None)
        assert engine.live_trades() == []
        assert len(plot.openings()) == 1
        await engine.stop()

    played(tmp_path, scene)


def test_what_another_hand_changed_in_the_store_is_not_fired_on_an_old_memory(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        await plot.set(halted=True)
        plan = await plot.make()
        await plot.play(1)
        row = await plot.plan(plan)
        now = plot.clock.market_ms()
        await plot.store.commit(Unit(plans=(moved(row, PlanStatus.CANCELLED, now, "another hand"),)))
        await plot.set(halted=False)
        await plot.play(15)
        assert (await plot.plan(plan)).status is PlanStatus.CANCELLED
        assert plot.terminal.sent == []
        assert plan.id not in plot.planner.board.cards

    played(tmp_path, scene)


def test_a_plan_that_took_a_step_meanwhile_is_not_changed(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make(conditions=NEVER)
        row = await plot.plan(plan)
        await plot.plans.change(plan.id, lambda draft: replace(draft, notes="first"))
        stale = replace(row, notes="second", version=row.version + 1)
        with pytest.raises(TradingRefused) as caught:
            await plot.plans._changed(stale, "changed", None)
        assert caught.value.code.value == "conflict"
        assert (await plot.plan(plan)).notes == "first"

    played(tmp_path, scene)


def test_on_a_netting_account_a_second_plan_joins_the_position_and_its_owner_stays(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        first = await plot.until(await plot.make(), EXECUTED)
        assert first.status is EXECUTED, first.reason
        second = await plot.until(await plot.make(), EXECUTED)
        assert second.status is EXECUTED, second.reason
        assert first.ticket == second.ticket
        (position,) = (await plot.broker.positions(list(plot.positions()))).values()
        assert position.volume == Decimal("0.20")
        (row,) = await plot.store.ownerships()
        assert row.owner == Owner.UNIVERSAL.value
        against = await plot.make("SELL")
        await plot.play(2)
        held = await plot.plan(against)
        assert held.status is PENDING
        assert "nets" in (held.reason or "")

    played(tmp_path, scene, account={"margin_mode": 0})


def test_risk_in_percent_is_sized_on_the_equity_when_it_fires(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.until(await plot.make(volume=None, risk_pct=0.01), EXECUTED)
        assert plan.status is EXECUTED, plan.reason
        position = await plot.broker.positions([plan.ticket or 0])
        held = position[plan.ticket or 0]
        assert plan.stop is not None
        loss = (held.entry - plan.stop) * float(held.volume)
        assert 0.5 * 100.0 < loss <= 100.0 * 1.02

    played(tmp_path, scene)


def test_no_more_plans_than_permitted_wait_at_once(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plot.managers.bench.settings = replace(plot.settings, plans=replace(plot.settings.plans, plans_max=2))
        made = await plot.plans.create_all([plot.draft(conditions=NEVER)] * 3)
        assert [isinstance(one, TradingRefused) for one in made] == [False, False, True]

    played(tmp_path, scene)


def test_prices_between_two_quotes_wake_a_plan_though_no_quote_was_near(tmp_path: Path) -> None:
    async def scene(plot: Plot) -> None:
        plan = await plot.make(conditions=NEVER)
        board = Board()
        board.put(await plot.plan(plan))
        tick = (await plot.broker.quotes([BTCUSD]))[BTCUSD]
        above, below = (replace(tick, bid=tick.bid + d, ask=tick.ask + d) for d in (300.0, -300.0))
        assert board.near(above, None, BTCUSD, 0.1) == set()
        assert board.near(below, None, BTCUSD, 0.1) == set()
        assert board.near(below, above, BTCUSD, 0.1) == {plan.id}

    played(tmp_path, scene)

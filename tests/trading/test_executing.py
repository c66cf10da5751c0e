"""Executions on the simulated terminal: what is refused and why, what is opened, and whose it is."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.trading.house import BTCUSD, House, in_house

from dtms.domain.actions import IntentState, OrderWay
from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner
from dtms.execute.trading.requests import Execution

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"))


def test_a_market_order_opens_one_position_and_queues_its_registration_with_dtms(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        tick = house.tick()
        done = await house.trading.execute(replace(BUY, stop=tick.bid - 50.004, target=tick.bid + 100))
        assert done.ok
        assert not done.unknown
        (position,) = house.positions().values()
        assert done.ticket == position.ticket == done.order
        assert done.volume == Decimal("0.1")
        assert done.deal is not None
        assert done.retcode == 10009
        assert done.protection.manager is Owner.DTMS
        assert done.protection.queued
        assert not done.protection.registered
        assert await house.letters() == {
            position.ticket: {
                "ticket": position.ticket,
                "symbol": BTCUSD,
                "direction": "BUY",
                "allow_pending": True,
            }
        }
        assert house.outbox.has(position.ticket)
        held = await house.position(position.ticket)
        assert held.stop == done.stop == round(tick.bid - 50.0, 2)
        (intent,) = await house.store.intents()
        assert intent.state is IntentState.CONFIRMED
        assert intent.asker is Asker.EXECUTION
        assert house.broker.number_in(held.magic, held.comment) == intent.number == done.intent

    in_house(tmp_path, scene)


def test_a_market_order_with_a_strategy_is_the_universal_managers_in_the_same_commit(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        done = await house.trading.execute(replace(BUY, strategy_type="breakout_bos"))
        assert done.ticket is not None
        (row,) = await house.store.ownerships([done.ticket])
        assert row.owner == Owner.UNIVERSAL.value
        assert row.strategy_type == "breakout_bos"
        assert done.protection.manager is Owner.UNIVERSAL
        assert done.protection.registered
        assert await house.letters() == {}
        ((intent, positions),) = house.taker.taken
        assert intent.number == done.intent
        assert [p.ticket for p in positions] == [done.ticket]

    in_house(tmp_path, scene)


def test_a_pending_order_waits_at_its_price(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        tick = house.tick()
        request = replace(BUY, way=OrderWay.LIMIT, entry=tick.bid - 100, stop=tick.bid - 200)
        done = await house.trading.execute(request)
        assert done.ok
        assert done.ticket is None
        (order,) = await house.trading.orders()
        assert order.order.ticket == done.order
        assert order.order.price == round(tick.bid - 100, 2)
        assert order.intent == done.intent
        assert house.positions() == {}

    in_house(tmp_path, scene)

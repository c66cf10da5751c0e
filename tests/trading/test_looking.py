"""The broker's view through the main API: positions with their managers, waiting orders, prices, bars, the account."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.trading.families import hedged
from tests.trading.house import BTCUSD, House, in_house, refusal

from dtms.domain.actions import IntentState, OrderWay
from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Execution
from dtms.execute.trading.service import Code

LIMIT = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"), way=OrderWay.LIMIT, entry=0.0)


def test_each_position_is_shown_with_its_manager_and_a_hedge_with_its_trades(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        nobodys = house.open()
        universal = house.open()
        await house.own(universal, Owner.UNIVERSAL)
        beside = house.open()
        await house.own(beside, Owner.EXITS)
        await house.watch(beside, State.WARNING_L1, alongside=True)
        left = house.open()
        await house.own(left, Owner.DTMS)  # counts only while DTMS watches it
        own, hedge = await hedged(house, numbered=True)
        seen = {p.position.ticket: (p.managed_by, p.dtms_state, p.of_trade) for p in await house.trading.positions()}
        assert seen == {
            nobodys: ("", None, None),
            universal: (Owner.UNIVERSAL.value, None, None),
            beside: (Owner.EXITS.value, State.WARNING_L1, None),
            left: ("", None, None),
            own: (Owner.DTMS.value, State.HEDGED, None),
            hedge: (Owner.DTMS.value, State.HEDGED, own),
        }
        assert await house.trading.positions(symbol="EURUSD.m") == []

    in_house(tmp_path, scene)


def test_prices_and_closed_bars_are_the_brokers(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        tick = house.tick()
        price = await house.trading.price(BTCUSD)
        assert (price.tick.bid, price.tick.ask) == (tick.bid, tick.ask)
        bars = await house.trading.candles(BTCUSD, Timeframe.M15, 50)
        assert len(bars) == 50
        assert bars.last_close_ms <= house.clock.market_ms()
        assert (await house.trading.account()).currency == "USD"
        for asked in (house.trading.price("NOSUCH"), house.trading.candles("NOSUCH", Timeframe.M5, 5)):
            assert (await refusal(asked)).code is Code.NOT_FOUND
        for count in (0, 5_001):
            error = await refusal(house.trading.candles(BTCUSD, Timeframe.M5, count))
            assert error.details["rule"] == "count"

    in_house(tmp_path, scene)


@pytest.mark.parametrize("by_person", [True, False])
def test_a_pending_order_of_ours_can_be_taken_back_under_the_halt_by_a_person_alone(
    tmp_path: Path, by_person: bool
) -> None:
    async def scene(house: House) -> None:
        done = await house.trading.execute(replace(LIMIT, entry=house.tick().bid - 100))
        await house.halt()
        if not by_person:
            assert (await refusal(house.trading.cancel(done.intent))).code is Code.HALTED
            assert len(await house.trading.orders()) == 1
            return
        gone = await house.trading.cancel(done.intent, by_person=True)
        assert gone.ok
        assert gone.order == done.order
        assert await house.trading.orders() == []
        states = {i.action.kind.value: i.state for i in await house.store.intents()}
        assert states == {"place_order": IntentState.CONFIRMED, "cancel_order": IntentState.CONFIRMED}
        assert (await refusal(house.trading.cancel(done.intent))).code is Code.NOT_FOUND

    in_house(tmp_path, scene)

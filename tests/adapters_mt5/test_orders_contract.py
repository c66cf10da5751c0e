"""The contract of the Broker port for trades of their own: executions, levels, pending orders, and what they cost.

It is run against the same terminals as ``test_broker_contract.py``, one of your own among them.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.adapters_mt5.bench import Bench, Desk, closed

from dtms.domain.actions import Action, ActionKind, CancelOrder, OpenPosition, OrderWay, PlaceOrder, SetLevels
from dtms.domain.market import Side
from dtms.domain.position import Order, OrderKind, OrderState, Position
from dtms.domain.prices import on_grid
from dtms.ports.broker import Answer

FAR_POINTS = 2_000
SIDES, WAYS = list(Side), list(OrderWay)


async def execution(desk: Desk, **changes: Any) -> OpenPosition:
    values: dict[str, Any] = {"kind": ActionKind.EXECUTE, "stop": None, "target": None, **changes}
    return await desk.opening(**values)


def levels(position: Position, stop: float | None, target: float | None) -> SetLevels:
    return SetLevels(
        kind=ActionKind.SET_LEVELS,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=stop,
        target=target,
        expected_stop=position.stop,
        expected_target=position.target,
    )


async def pending(desk: Desk, side: Side = Side.LONG, way: OrderWay = OrderWay.LIMIT, **changes: Any) -> PlaceOrder:
    """Ask for an order that waits far from the market, its stop and target on the right sides."""
    tick, instrument = await desk.tick(), await desk.instrument()
    away = FAR_POINTS * instrument.point * (-1 if way is OrderWay.LIMIT else 1) * side.sign
    price = tick.opening(side) + away
    values: dict[str, Any] = {
        "kind": ActionKind.PLACE_ORDER,
        "symbol": desk.symbol,
        "side": side,
        "way": way,
        "volume": desk.lot,
        "price": on_grid(price, instrument),
        "stop": on_grid(price - 500 * instrument.point * side.sign, instrument),
        "target": on_grid(price + 700 * instrument.point * side.sign, instrument),
    }
    return PlaceOrder(**{**values, **changes})


async def waiting(desk: Desk, ticket: int | None) -> Order | None:
    orders = (await desk.broker.snapshot([])).orders
    return next((order for order in orders if order.ticket == ticket), None)


def removal(order: Order) -> CancelOrder:
    return CancelOrder(kind=ActionKind.CANCEL_ORDER, order=order.ticket, symbol=order.symbol, side=order.side)


class TestLevels:
    def test_an_execution_may_come_without_levels_and_get_both_at_once(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            assert (await desk.send(await execution(desk))).answer is Answer.OK
            (position,) = (await desk.broker.evidence(desk.number, desk.symbol, desk.clock.market_ms())).positions[-1:]
            assert (position.stop, position.target) == (None, None)
            assert desk.broker.number_in(position.magic, position.comment) == desk.number
            instrument, tick = await desk.instrument(), await desk.tick()
            away = 400 * instrument.point
            stop, target = on_grid(tick.bid - away, instrument), on_grid(tick.bid + away, instrument)
            assert (await desk.send(levels(position, stop, target))).answer is Answer.OK
            both = await desk.position(position.ticket)
            assert both is not None
            assert (both.stop, both.target) == (stop, target)
            assert (await desk.send(levels(both, stop, target))).answer is Answer.NOOP
            assert (await desk.send(levels(both, None, target))).answer is Answer.OK
            one = await desk.position(position.ticket)
            assert one is not None
            assert (one.stop, one.target) == (None, target)
            await desk.send(closed(one))

        bench(story)

    @pytest.mark.parametrize("side", SIDES)
    def test_levels_on_the_wrong_side_are_refused_and_none_is_changed(self, bench: Bench, side: Side) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open(side)
            assert position.target is not None
            result = await desk.send(levels(position, position.target, position.stop))
            assert (result.answer, result.name) == (Answer.FIX, "INVALID_STOPS")
            after = await desk.position(position.ticket)
            assert after is not None
            assert (after.stop, after.target) == (position.stop, position.target)
            await desk.send(closed(position))

        bench(story)


class TestPendingOrders:
    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("way", WAYS)
    def test_an_order_waits_as_it_was_asked_for_until_it_is_removed(
        self, bench: Bench, side: Side, way: OrderWay
    ) -> None:
        async def story(desk: Desk) -> None:
            began_ms = desk.clock.market_ms()
            asked = await pending(desk, side, way)
            result = await desk.send(asked)
            placed_by = desk.number
            assert result.answer is Answer.OK, result
            order = await waiting(desk, result.order)
            assert order is not None
            assert (order.symbol, order.side, order.kind) == (desk.symbol, side, OrderKind(way.value))
            assert (order.price, order.stop, order.target) == (asked.price, asked.stop, asked.target)
            assert (order.volume, order.left, order.state) == (desk.lot, desk.lot, OrderState.WORKING)
            assert desk.broker.number_in(order.magic, order.comment) == placed_by
            assert order.expires_ms is None
            found = await desk.broker.evidence(placed_by, desk.symbol, began_ms)
            assert order.ticket in [one.ticket for one in found.orders]

            assert (await desk.send(removal(order))).answer is Answer.OK
            assert await waiting(desk, order.ticket) is None
            gone = await desk.broker.evidence(desk.number, desk.symbol, desk.clock.market_ms(), order=order.ticket)
            (end,) = [one for one in gone.past_orders if one.ticket == order.ticket]
            assert (end.state, end.filled) == (OrderState.CANCELLED, Decimal(0))
            assert (await desk.send(removal(order))).answer is Answer.FIX

        bench(story)

    @pytest.mark.parametrize("way", WAYS)
    def test_an_order_on_the_wrong_side_of_the_market_is_refused(self, bench: Bench, way: OrderWay) -> None:
        async def story(desk: Desk) -> None:
            other = OrderWay.STOP if way is OrderWay.LIMIT else OrderWay.LIMIT
            result = await desk.send(replace(await pending(desk, way=way), way=other))
            assert (result.answer, result.name) == (Answer.FIX, "INVALID_PRICE")

        bench(story)

    def test_an_order_whose_stop_is_on_the_wrong_side_of_its_price_is_refused(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            asked = await pending(desk)
            result = await desk.send(replace(asked, stop=asked.target, target=asked.stop))
            assert (result.answer, result.name) == (Answer.FIX, "INVALID_STOPS")

        bench(story)


class TestAskingBeforehand:
    def test_a_check_finds_what_is_sound_acceptable_and_does_nothing(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            before = await desk.broker.snapshot([])
            sound: list[Action] = [await execution(desk), await pending(desk)]
            for action in sound:
                result = await desk.broker.check(action, number=desk.number + 1, tick=await desk.tick())
                assert (result.answer, result.sent) == (Answer.OK, False)
            after = await desk.broker.snapshot([])
            assert set(after.positions) == set(before.positions)
            assert len(after.orders) == len(before.orders)

        bench(story)

    def test_a_check_tells_what_a_send_would_be_refused_for(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            tick, instrument = await desk.tick(), await desk.instrument()
            above = on_grid(tick.ask + 300 * instrument.point, instrument)
            wrong: dict[str, Action] = {
                "INVALID_STOPS": await execution(desk, stop=above),
                "INVALID_VOLUME": await execution(desk, volume=instrument.volume_min + instrument.volume_step / 3),
                "INVALID_PRICE": await pending(desk, price=above),
                "UNKNOWN_SYMBOL": await execution(desk, symbol="NO.SUCH"),
            }
            for name, action in wrong.items():
                checked = await desk.broker.check(action, number=desk.number + 1, tick=tick)
                assert (checked.name, checked.answer, checked.sent) == (name, Answer.FIX, False)
                assert (await desk.send(action)).name == name

        bench(story)

    def test_margin_grows_with_the_lots(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            tick = await desk.tick()
            one, ten = [
                await desk.broker.margin(desk.symbol, Side.LONG, desk.lot * times, tick.ask) for times in (1, 10)
            ]
            assert one > 0
            assert ten == pytest.approx(10 * one, rel=0.01)

        bench(story)

    @pytest.mark.parametrize("side", SIDES)
    def test_profit_is_what_the_ticks_between_two_prices_are_worth(self, bench: Bench, side: Side) -> None:
        async def story(desk: Desk) -> None:
            tick, instrument = await desk.tick(), await desk.instrument()
            price = tick.opening(side)
            further = on_grid(price + 100 * instrument.tick_size * side.sign, instrument)
            gain = await desk.broker.profit(desk.symbol, side, desk.lot, price, further)
            loss = await desk.broker.profit(desk.symbol, side, desk.lot, further, price)
            assert gain == pytest.approx(100 * instrument.tick_value * float(desk.lot), rel=0.02)
            assert loss == pytest.approx(-gain, rel=0.02)

        bench(story)

"""Pending orders: where they may stand, when they are filled, and how they end."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.constants import MT5

BUY_LIMIT, SELL_LIMIT, BUY_STOP, SELL_STOP, BUY_STOP_LIMIT, SELL_STOP_LIMIT = range(2, 8)
FALL: Minute = (0, 0, -100, -100)
RISE: Minute = (0, 100, 0, 100)
GAP_UP: Minute = (200, 200, 200, 200)
NIGHT: list[Minute] = [None] * 600


def place(lab: Lab, kind: int, points: int, **more: object) -> tuple[int, int]:
    request = {"volume": 0.1, "type": kind, "price": price(points), "type_filling": 2} | more
    result = lab.send(action=5, **request)
    return result.retcode, result.order


@pytest.mark.parametrize(
    ("kind", "points", "retcode"),
    [
        (BUY_LIMIT, -8, 10009),  # the ask stands at 2, the stops level is 10 points
        (BUY_LIMIT, -7, 10015),
        (BUY_LIMIT, 30, 10015),
        (SELL_LIMIT, 10, 10009),
        (SELL_LIMIT, -10, 10015),
        (BUY_STOP, 12, 10009),
        (BUY_STOP, 11, 10015),
        (SELL_STOP, -10, 10009),
        (SELL_STOP, 10, 10015),
    ],
)
def test_a_pending_price_keeps_its_side_and_distance(bench: MakeLab, kind: int, points: int, retcode: int) -> None:
    assert place(bench([FLAT] * 5), kind, points)[0] == retcode


@pytest.mark.parametrize(
    ("kind", "points", "minute", "fill"),
    [(BUY_LIMIT, -50, FALL, -50), (SELL_LIMIT, 50, RISE, 50)],
)
def test_a_limit_is_filled_at_its_price(bench: MakeLab, kind: int, points: int, minute: Minute, fill: int) -> None:
    lab = bench([minute, FLAT])
    code, ticket = place(lab, kind, points, sl=price(points - 200 if kind == BUY_LIMIT else points + 200), magic=5)
    assert code == 10009
    lab.minute(1)
    position = lab.position(ticket)
    assert position is not None
    assert (position.price_open, position.magic, position.type) == (price(fill), 5, kind % 2)
    assert lab.terminal.orders_get() == ()
    (order,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert (order.state, order.volume_current) == (4, 0.0)


def test_a_stop_order_slips_over_a_gap(bench: MakeLab) -> None:
    lab = bench([FLAT, *NIGHT, GAP_UP])
    _, ticket = place(lab, BUY_STOP, 50)
    lab.minute(602)
    position = lab.position(ticket)
    assert position is not None
    assert position.price_open == price(202)


def test_an_untouched_order_stays(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT])
    place(lab, BUY_STOP, 50)
    lab.minute(1)
    assert lab.terminal.orders_total() == 1
    assert lab.terminal.positions_total() == 0


def test_a_stop_limit_becomes_a_limit_and_then_a_position(bench: MakeLab) -> None:
    lab = bench([RISE, (100, 100, 0, 0), FLAT])
    code, ticket = place(lab, BUY_STOP_LIMIT, 80, stoplimit=price(40))
    assert code == 10009
    lab.minute(1)
    (order,) = lab.terminal.orders_get(ticket=ticket) or ()
    assert (order.type, order.price_open) == (BUY_LIMIT, price(40))
    lab.minute(2)
    position = lab.position(ticket)
    assert position is not None
    assert position.price_open == price(40)


def test_an_order_is_changed_and_removed(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    _, ticket = place(lab, BUY_LIMIT, -50)
    assert lab.send(action=7, order=ticket, price=price(-50)).retcode == 10025
    assert lab.send(action=7, order=ticket, price=price(-60), sl=price(-90)).retcode == 10009
    (order,) = lab.terminal.orders_get(ticket=ticket) or ()
    assert (order.price_open, order.sl) == (price(-60), price(-90))
    assert lab.send(action=8, order=ticket).retcode == 10009
    assert lab.terminal.orders_get() == ()
    (ended,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert ended.state == MT5.ORDER_STATE_CANCELED


def test_stops_of_a_pending_order_are_judged_from_its_price(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    assert place(lab, BUY_LIMIT, -50, sl=price(-55))[0] == 10016
    assert place(lab, BUY_LIMIT, -50, sl=price(-60), tp=price(-40))[0] == 10009


def test_an_order_expires_at_its_time(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10)
    server_s = lab.begin_ms // 1000 + 2 * 3600
    assert place(lab, BUY_LIMIT, -50, type_time=2, expiration=server_s - 3600)[0] == 10022
    _, ticket = place(lab, BUY_LIMIT, -50, type_time=2, expiration=server_s + 180)
    lab.minute(2.9)
    assert lab.terminal.orders_total() == 1
    lab.minute(3.1)
    assert lab.terminal.orders_total() == 0
    (ended,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert (ended.state, ended.time_done) == (MT5.ORDER_STATE_EXPIRED, server_s + 180)


def test_an_order_for_the_day_ends_at_the_servers_midnight(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, begin="2024-01-16T21:58Z")
    _, ticket = place(lab, BUY_LIMIT, -50, type_time=1)
    lab.minute(1.9)
    assert lab.terminal.orders_total() == 1
    lab.minute(2)
    assert lab.terminal.orders_total() == 0
    (ended,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert ended.state == MT5.ORDER_STATE_EXPIRED


def test_an_order_that_the_account_cannot_pay_is_rejected_when_reached(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT], account={"balance": 1_000.0})
    _, ticket = place(lab, BUY_LIMIT, -50, volume=5.0)
    lab.minute(1)
    assert lab.terminal.positions_total() == 0
    (ended,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert ended.state == MT5.ORDER_STATE_REJECTED


def test_too_many_orders_are_refused(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"limit_orders": 1})
    assert place(lab, BUY_LIMIT, -50)[0] == 10009
    assert place(lab, BUY_LIMIT, -60)[0] == 10033


def test_an_order_type_outside_the_symbols_mask_is_refused(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"order_mask": 1 | 4})
    assert place(lab, BUY_LIMIT, -50)[0] == 10035
    assert place(lab, BUY_STOP, 50)[0] == 10009


def test_some_brokers_judge_the_filling_of_a_pending_order(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"filling_mask": 1})
    assert place(lab, BUY_LIMIT, -50)[0] == 10009
    lab.terminal.simulation.world.manners.pending_filling_judged = True
    assert place(lab, BUY_LIMIT, -60)[0] == 10030
    assert place(lab, BUY_LIMIT, -60, type_filling=0)[0] == 10009

"""Closing: whole, in part, by another position; and what a close is not."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, price

BUY, SELL = 0, 1


def test_a_partial_close_leaves_ticket_stop_target_magic_and_the_rest(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, 0.5, sl=price(-50), tp=price(90), magic=11, comment="mine")
    result = lab.market(SELL, 0.2, position=ticket, magic=22, comment="part")
    assert (result.retcode, result.volume, result.price) == (10009, 0.2, price(0))
    position = lab.position(ticket)
    assert position is not None
    assert (position.volume, position.sl, position.tp) == (0.3, price(-50), price(90))
    assert (position.magic, position.comment, position.identifier) == (11, "mine", ticket)


def test_a_closing_deal_and_its_order_carry_the_requests_magic(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, magic=11)
    result = lab.market(SELL, position=ticket, magic=22, comment="bye")
    opened, closed = lab.terminal.history_deals_get(position=ticket) or ()
    assert (opened.magic, closed.magic, closed.comment, closed.reason) == (11, 22, "bye", 3)
    (order,) = lab.terminal.history_orders_get(ticket=result.order) or ()
    assert (order.magic, order.position_id, order.state) == (22, ticket, 4)


def test_a_whole_close_ends_the_position_and_a_second_one_finds_it_closed(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(SELL)
    assert lab.market(BUY, position=ticket).retcode == 10009
    assert lab.position(ticket) is None
    assert lab.market(BUY, position=ticket).retcode == 10036
    assert lab.levels(ticket, sl=price(50)).retcode == 10036


@pytest.mark.parametrize(("lots", "retcode"), [(0.11, 10038), (0.05, 10009), (0.1, 10009)])
def test_a_close_cannot_exceed_the_position(bench: MakeLab, lots: float, retcode: int) -> None:
    lab = bench([FLAT] * 5)
    assert lab.market(SELL, lots, position=lab.opened(BUY, 0.1)).retcode == retcode


def test_a_close_may_not_leave_less_than_the_minimum(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"volume_min_lots": 0.1})
    assert lab.market(SELL, 0.15, position=lab.opened(BUY, 0.2)).retcode == 10014


def test_a_close_without_the_position_opens_an_opposite_one(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(BUY)
    lab.opened(SELL)
    positions = lab.terminal.positions_get()
    assert positions is not None
    assert [position.type for position in positions] == [BUY, SELL]


def test_a_close_in_the_positions_own_direction_is_invalid(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    assert lab.market(BUY, position=lab.opened(BUY)).retcode == 10013


def test_opposite_positions_close_each_other_without_a_second_spread(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    buy, sell = lab.opened(BUY, 0.3), lab.opened(SELL, 0.1)
    result = lab.send(action=10, position=buy, position_by=sell)
    assert (result.retcode, result.volume) == (10009, 0.1)
    position = lab.position(buy)
    assert position is not None
    assert position.volume == 0.2
    assert lab.position(sell) is None
    deals = list(lab.terminal.history_deals_get(ticket=result.order) or ())
    assert [deal.entry for deal in deals] == [3, 3]
    assert sum(deal.profit for deal in deals) == pytest.approx(-0.2)  # bought at 2, sold at 0: two points of 0.1 lots


def test_positions_of_one_direction_cannot_close_each_other(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    assert lab.send(action=10, position=lab.opened(BUY), position_by=lab.opened(BUY)).retcode == 10013


def test_closing_by_a_position_that_is_gone_says_so(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    assert lab.send(action=10, position=lab.opened(BUY), position_by=4711).retcode == 10036

"""A netting account holds one position a symbol: deals merge into it, reduce it, or turn it over."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.structs import TradePosition

BUY, SELL = 0, 1
RISE: Minute = (0, 100, 0, 100)
HIGH: Minute = (100, 100, 100, 100)
IN, OUT, INOUT = 0, 1, 2


@pytest.fixture(params=[0, 1], ids=["netting", "exchange"])
def mode(request: pytest.FixtureRequest) -> int:
    made: int = request.param
    return made


def only(lab: Lab) -> TradePosition:
    """The one position, which must be the only one."""
    (held,) = lab.terminal.positions_get() or ()
    return held


def test_the_account_says_what_it_is(bench: MakeLab, mode: int) -> None:
    info = bench([FLAT] * 5, account={"margin_mode": mode}).terminal.account_info()
    assert info is not None
    assert info.margin_mode == mode


def test_a_second_entry_merges_at_the_mean_price_with_its_own_levels(bench: MakeLab, mode: int) -> None:
    """Bought 0.1 at 2 and 0.3 at 102: a mean of 77; ticket, magic, comment and time of opening are the first's."""
    lab = bench([FLAT, RISE, HIGH], account={"margin_mode": mode})
    ticket = lab.opened(BUY, 0.1, sl=price(-50), tp=price(500), magic=5, comment="first")
    opened = only(lab).time_msc
    lab.minute(2)
    result = lab.market(BUY, 0.3, sl=price(20), magic=6, comment="second")
    assert (result.retcode, result.volume, result.price) == (10009, 0.3, price(102))
    held = only(lab)
    assert (held.ticket, held.identifier, held.time_msc) == (ticket, ticket, opened)
    assert (held.volume, held.price_open) == (0.4, price(77))
    assert (held.sl, held.tp) == (price(20), 0.0)  # the order's levels replace the position's, absent ones too
    assert (held.magic, held.comment) == (5, "first")
    deals = lab.terminal.history_deals_get(position=ticket) or ()
    assert [(deal.entry, deal.volume, deal.magic) for deal in deals] == [(IN, 0.1, 5), (IN, 0.3, 6)]
    (order,) = lab.terminal.history_orders_get(ticket=result.order) or ()
    assert order.position_id == ticket


def test_a_mean_price_between_two_points_is_shown_as_it_is_and_loses_no_cent(bench: MakeLab, mode: int) -> None:
    lab = bench([FLAT, RISE, HIGH], account={"margin_mode": mode})
    ticket = lab.opened(BUY, 1.0)
    lab.minute(2)
    lab.opened(BUY, 2.0)
    held = only(lab)
    assert held.price_open == pytest.approx((price(2) + 2 * price(102)) / 3, abs=1e-11)
    assert held.price_open != round(held.price_open, 5)
    assert lab.market(SELL, 3.0, position=ticket).retcode == 10009
    info = lab.terminal.account_info()
    assert info is not None
    assert info.balance == 10_000.0 + 98.0 - 2 * 2.0  # 98 points of one lot, 2 points of two


def test_a_broker_may_keep_the_levels_that_a_merging_order_does_not_name(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0}, manners={"merged_levels": "keep_if_none"})
    lab.opened(BUY, sl=price(-50), tp=price(500))
    lab.opened(BUY, tp=price(400))
    assert (only(lab).sl, only(lab).tp) == (price(-50), price(400))


def test_an_opposite_deal_reduces_without_naming_the_position(bench: MakeLab, mode: int) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": mode})
    ticket = lab.opened(BUY, 0.5, sl=price(-50), tp=price(500), magic=5)
    result = lab.market(SELL, 0.2, magic=6, sl=price(300))
    assert (result.retcode, result.volume) == (10009, 0.2)
    held = only(lab)
    assert (held.ticket, held.type, held.volume, held.price_open) == (ticket, BUY, 0.3, price(2))
    assert (held.sl, held.tp, held.magic) == (price(-50), price(500), 5)
    deal = (lab.terminal.history_deals_get(position=ticket) or ())[-1]
    assert (deal.entry, deal.volume, deal.profit, deal.magic) == (OUT, 0.2, -0.4, 6)


@pytest.mark.parametrize("named", [True, False])
def test_an_opposite_deal_of_the_same_size_closes(bench: MakeLab, mode: int, named: bool) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": mode})
    ticket = lab.opened(SELL, 0.5)
    assert lab.market(BUY, 0.5, **({"position": ticket} if named else {})).retcode == 10009
    assert lab.terminal.positions_get() == ()
    assert [deal.entry for deal in lab.terminal.history_deals_get(position=ticket) or ()] == [IN, OUT]


def test_a_larger_opposite_deal_reverses_under_the_same_identifier(bench: MakeLab, mode: int) -> None:
    """One deal, INOUT: the ticket is the reversing order's, side, price and time of opening are new."""
    lab = bench([FLAT, RISE, HIGH], account={"margin_mode": mode})
    ticket = lab.opened(BUY, 0.2, sl=price(-50), magic=5)
    lab.minute(2)
    result = lab.market(SELL, 0.5, sl=price(300), magic=6, comment="turn")
    assert (result.retcode, result.volume, result.price) == (10009, 0.5, price(100))
    held = only(lab)
    assert (held.ticket, held.identifier) == (result.order, ticket)
    assert held.ticket != ticket
    assert (held.type, held.volume, held.price_open) == (SELL, 0.3, price(100))
    assert (held.sl, held.magic, held.comment) == (price(300), 6, "turn")
    assert held.time_msc == lab.begin_ms + 2 * 60_000 + 2 * 3_600_000
    opening, turning = lab.terminal.history_deals_get(position=ticket) or ()
    assert (turning.entry, turning.volume, turning.profit, opening.profit) == (INOUT, 0.5, 19.6, 0.0)
    assert lab.market(BUY, 0.3, position=ticket).retcode == 10036
    assert lab.market(BUY, 0.3, position=held.ticket).retcode == 10009


def test_a_close_that_names_the_position_never_reverses(bench: MakeLab, mode: int) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": mode})
    ticket = lab.opened(BUY, 0.2)
    assert lab.market(SELL, 0.3, position=ticket).retcode == 10038


def test_what_a_deal_leaves_on_either_side_is_at_least_the_minimum(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0}, spec={"volume_min_lots": 0.1})
    lab.opened(BUY, 0.2)
    assert lab.market(SELL, 0.15).retcode == 10014
    assert lab.market(SELL, 0.25).retcode == 10014
    assert lab.market(SELL, 0.3).retcode == 10009


def test_a_pending_order_merges_when_it_is_reached(bench: MakeLab) -> None:
    lab = bench([(0, 0, -100, -100), FLAT], account={"margin_mode": 0})
    ticket = lab.opened(BUY, 0.1)
    placed = lab.send(action=5, volume=0.1, type=2, price=price(-50), type_filling=2)
    assert placed.retcode == 10009
    lab.minute(1)
    held = only(lab)
    assert (held.ticket, held.volume, held.price_open) == (ticket, 0.2, price(-24))


def test_a_stop_closes_the_whole_position(bench: MakeLab) -> None:
    lab = bench([(0, 0, -100, -100), FLAT], account={"margin_mode": 0})
    ticket = lab.opened(BUY, 0.1)
    lab.opened(BUY, 0.2, sl=price(-50))
    lab.minute(1)
    assert lab.terminal.positions_get() == ()
    deal = (lab.terminal.history_deals_get(position=ticket) or ())[-1]
    assert (deal.volume, deal.reason, deal.entry) == (0.3, 4, OUT)


def test_positions_cannot_close_each_other_where_there_is_only_one(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0})
    ticket = lab.opened(BUY, 0.1)
    assert lab.send(action=10, position=ticket, position_by=ticket).retcode == 10013


def test_a_reduction_needs_no_money_and_a_reversal_only_for_what_it_opens(bench: MakeLab) -> None:
    """A lot takes 1,100 of 1,200: a sale of two leaves one, whose margin the first's pays; of three it does not."""
    lab = bench([FLAT] * 5, account={"margin_mode": 0, "balance": 1_200.0})
    lab.opened(BUY, 1.0)
    assert lab.market(BUY, 0.1).retcode == 10019
    assert lab.market(SELL, 3.0).retcode == 10019
    assert lab.market(SELL, 0.5).retcode == 10009
    assert lab.market(SELL, 1.5).retcode == 10009
    assert (only(lab).type, only(lab).volume) == (SELL, 1.0)


@pytest.mark.parametrize(("trade_mode", "reverses"), [(1, 10042), (3, 10044)])
def test_a_symbol_that_only_closes_lets_an_opposite_deal_reduce_but_not_reverse(
    bench: MakeLab, trade_mode: int, reverses: int
) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0})
    lab.opened(BUY, 0.2)
    lab.terminal.simulation.switches.trade_modes[lab.symbol] = trade_mode
    assert lab.market(SELL, 0.3).retcode == reverses
    assert lab.market(SELL, 0.1).retcode == 10009


def test_a_limit_of_positions_does_not_stop_a_merge(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0, "limit_positions": 1})
    lab.opened(BUY, 0.2)
    assert lab.market(BUY, 0.2).retcode == 10009


def test_an_outsider_whose_entry_merged_closes_the_position_that_it_is_in(bench: MakeLab) -> None:
    entry = {"symbol": "EURUSD", "side": "BUY", "lots": 0.1}
    lab = bench(
        [FLAT] * 10,
        account={"margin_mode": 0},
        actors=[
            entry | {"at": "2024-01-16T10:01:00Z", "name": "a"},
            entry | {"at": "2024-01-16T10:02:00Z", "name": "b"},
            {"at": "2024-01-16T10:03:00Z", "kind": "close", "name": "b", "symbol": "EURUSD", "lots": 0.15},
        ],
    )
    lab.minute(4)
    assert only(lab).volume == 0.05

"""Accounts that close in order only, or take no hedge, refuse by codes of their own."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Minute, price

BUY, SELL = 0, 1
FALL: Minute = (0, 0, -100, -100)
FIFO = {"fifo_close": True}
NO_HEDGE = {"hedge_allowed": False}


def test_a_fifo_account_closes_the_oldest_alone_in_whole_or_in_part(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account=FIFO)
    first, second = lab.opened(BUY, 0.2), lab.opened(BUY, 0.2)
    assert lab.market(SELL, 0.1, position=second).retcode == 10045
    assert lab.market(SELL, 0.1, position=first).retcode == 10009
    assert lab.market(SELL, 0.2, position=second).retcode == 10045  # what is left of the oldest is still the oldest
    assert lab.market(SELL, 0.1, position=first).retcode == 10009
    assert lab.market(SELL, 0.2, position=second).retcode == 10009


def test_a_hedge_on_a_fifo_account_waits_for_its_turn(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account=FIFO)
    trade, hedge = lab.opened(BUY), lab.opened(SELL)
    assert lab.market(BUY, position=hedge).retcode == 10045
    assert lab.send(action=10, position=hedge, position_by=trade).retcode == 10009
    assert lab.terminal.positions_get() == ()


def test_first_in_is_by_the_time_of_opening_whatever_tickets_become(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account=FIFO)
    first, second = lab.opened(BUY), lab.opened(BUY)
    simulation = lab.terminal.simulation
    changed = simulation.world.ledger.positions[first]
    lab.terminal._server.renumber(changed)
    assert lab.market(SELL, position=second).retcode == 10045
    (oldest,) = (p for p in lab.terminal.positions_get() or () if p.identifier == first)
    assert lab.market(SELL, position=oldest.ticket).retcode == 10009


def test_stops_work_on_a_fifo_account_in_any_order(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT], account=FIFO)
    first, second = lab.opened(BUY), lab.opened(BUY, sl=price(-50))
    lab.minute(1)
    assert [p.ticket for p in lab.terminal.positions_get() or ()] == [first]
    assert (lab.terminal.history_deals_get(position=second) or ())[-1].reason == 4


def test_without_the_rule_any_position_may_be_closed_first(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(BUY)
    assert lab.market(SELL, position=lab.opened(BUY)).retcode == 10009


def test_where_hedges_are_prohibited_only_the_refusal_tells(bench: MakeLab) -> None:
    """The interface has no field for it: account_info() of both accounts is the same."""
    open_account, lab = bench([FLAT] * 5), bench([FLAT] * 5, account=NO_HEDGE)
    assert lab.terminal.account_info() == open_account.terminal.account_info()
    ticket = lab.opened(BUY, 0.2)
    assert lab.market(SELL, 0.1).retcode == 10046
    assert lab.send(action=5, volume=0.1, type=3, price=price(50), type_filling=2).retcode == 10046
    assert lab.market(BUY, 0.1).retcode == 10009
    assert lab.market(SELL, 0.1, position=ticket).retcode == 10009
    assert not hasattr(lab.terminal, "TRADE_RETCODE_HEDGE_PROHIBITED")


def test_a_pending_order_that_would_hedge_by_now_is_rejected_when_reached(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT], account=NO_HEDGE)
    placed = lab.send(action=5, volume=0.1, type=5, price=price(-50), type_filling=2)
    assert placed.retcode == 10009
    lab.opened(BUY)
    lab.minute(1)
    (order,) = lab.terminal.history_orders_get(ticket=placed.order) or ()
    assert order.state == 5
    assert lab.terminal.positions_total() == 1


@pytest.mark.parametrize(("check", "second"), [("entry", 10019), ("after", 10009)])
def test_free_margin_must_cover_a_hedge_alone_or_what_the_account_then_holds(
    bench: MakeLab, check: str, second: int
) -> None:
    lab = bench([FLAT] * 5, account={"balance": 1_200.0}, manners={"margin_check": check})
    lab.opened(BUY, 1.0)
    assert lab.market(SELL, 1.0).retcode == second


@pytest.mark.parametrize(
    ("spec", "margin", "shown"),
    [
        ({}, 550.01, 50_000.0),
        ({"margin_hedged_units": 0}, 0.0, 0.0),
        ({"margin_hedged_units": 100_000}, 1_100.01, 100_000.0),
        ({"margin_hedged_use_leg": True}, 1_100.02, 50_000.0),
    ],
)
def test_what_a_covered_lot_is_charged_is_the_symbols_condition(
    bench: MakeLab, spec: dict[str, object], margin: float, shown: float
) -> None:
    lab = bench([FLAT] * 5, spec=spec)
    lab.opened(BUY, 1.0)
    lab.opened(SELL, 1.0)
    account, symbol = lab.terminal.account_info(), lab.terminal.symbol_info(lab.symbol)
    assert account is not None
    assert symbol is not None
    assert (account.margin, symbol.margin_hedged) == (margin, shown)
    assert symbol.margin_hedged_use_leg is bool(spec.get("margin_hedged_use_leg", False))


def test_the_uncovered_part_of_a_hedge_is_charged_in_full(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(BUY, 0.75)
    lab.opened(SELL, 0.25)
    info = lab.terminal.account_info()
    assert info is not None
    assert info.margin == pytest.approx(0.5 * 1_100.02 + 0.25 * 1_100.015 / 2, abs=0.011)

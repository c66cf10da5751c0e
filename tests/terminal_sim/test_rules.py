"""The terminal refuses what a trade server refuses, with the server's retcode."""

import math
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, price

BUY, SELL = 0, 1
CLOSED_HOUR = [None] * 60


@pytest.mark.parametrize(
    ("lots", "retcode"),
    [(0.1, 10009), (0.0, 10014), (-0.1, 10014), (0.005, 10014), (0.105, 10014), (101.0, 10014), (math.nan, 10014)],
)
def test_a_volume_must_lie_on_the_grid_of_minimum_step_and_maximum(bench: MakeLab, lots: float, retcode: int) -> None:
    assert bench([FLAT] * 5, account={"balance": 1e9}).market(BUY, lots).retcode == retcode


@pytest.mark.parametrize(
    ("side", "sl", "tp", "retcode"),
    [
        (BUY, -10, 10, 10009),  # a buy closes on the bid, which stands at 0
        (BUY, -9, 0, 10016),
        (BUY, 10, 0, 10016),
        (BUY, 0, 9, 10016),
        (BUY, 0, -20, 10016),
        (SELL, 12, -8, 10009),  # a sell closes on the ask, which stands at 2
        (SELL, 11, 0, 10016),
        (SELL, -10, 0, 10016),
        (SELL, 0, -7, 10016),
    ],
)
def test_levels_keep_the_stops_level_from_the_side_that_closes(
    bench: MakeLab, side: int, sl: int, tp: int, retcode: int
) -> None:
    lab = bench([FLAT] * 5)
    levels = {name: price(level) for name, level in (("sl", sl), ("tp", tp)) if level}
    assert lab.market(side, **levels).retcode == retcode
    ticket = lab.opened(side)
    assert lab.levels(ticket, **levels).retcode == retcode


@pytest.mark.parametrize("stop", [price(-50) + 0.000004, math.nan, math.inf, -1.0])
def test_a_stop_off_the_tick_grid_is_invalid(bench: MakeLab, stop: float) -> None:
    lab = bench([FLAT] * 5)
    assert lab.levels(lab.opened(BUY), sl=stop).retcode == 10016


def test_setting_the_levels_that_are_set_is_no_change(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, sl=price(-50))
    assert lab.levels(ticket, sl=price(-50)).retcode == 10025


def test_an_omitted_level_is_removed(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, sl=price(-50), tp=price(50))
    assert lab.levels(ticket, sl=price(-40)).retcode == 10009
    position = lab.position(ticket)
    assert position is not None
    assert (position.sl, position.tp) == (price(-40), 0.0)


@pytest.mark.parametrize(
    ("exemode", "mask", "filling", "retcode"),
    [(2, 3, 0, 10009), (2, 3, 1, 10009), (2, 3, 2, 10030), (2, 1, 1, 10030), (2, 2, 0, 10030), (3, 1, 2, 10009)],
)
def test_a_filling_must_be_in_the_mask_and_return_is_not_for_market_execution(
    bench: MakeLab, exemode: int, mask: int, filling: int, retcode: int
) -> None:
    lab = bench([FLAT] * 5, spec={"exemode": exemode, "filling_mask": mask})
    assert lab.send(action=1, type=BUY, volume=0.1, type_filling=filling).retcode == retcode


@pytest.mark.parametrize(
    ("mode", "buy", "sell", "close"),
    [
        (0, 10017, 10017, 10017),
        (1, 10009, 10042, 10009),
        (2, 10043, 10009, 10009),
        (3, 10044, 10044, 10009),
        (4, 10009, 10009, 10009),
    ],
)
def test_the_trade_mode_decides_what_may_be_opened_and_closed(
    bench: MakeLab, mode: int, buy: int, sell: int, close: int
) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY)
    lab.terminal.simulation.switches.trade_modes[lab.symbol] = mode
    info = lab.terminal.symbol_info(lab.symbol)
    assert info is not None
    assert info.trade_mode == mode
    assert lab.market(BUY).retcode == buy
    assert lab.market(SELL).retcode == sell
    assert lab.market(SELL, position=ticket).retcode == close


@pytest.mark.parametrize(
    ("switch", "retcode"),
    [
        ("connected", 10031),
        ("terminal_trade_allowed", 10027),
        ("account_trade_expert", 10026),
        ("account_trade_allowed", 10017),
    ],
)
def test_a_permission_that_is_off_refuses_every_request(bench: MakeLab, switch: str, retcode: int) -> None:
    lab = bench([FLAT] * 5)
    setattr(lab.terminal.simulation.switches, switch, False)
    assert lab.market(BUY).retcode == retcode


def test_a_switched_off_interface_answers_none_with_its_own_code(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.terminal.simulation.switches.tradeapi_disabled = True
    assert lab.terminal.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}) is None
    assert lab.terminal.last_error()[0] == -8


def test_a_person_at_the_desk_is_not_stopped_by_the_switch_for_programs(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.terminal.simulation.switches.terminal_trade_allowed = False
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY}
    assert lab.terminal.simulation.send_as(request).retcode == 10009


def test_a_closed_market_takes_no_request(bench: MakeLab) -> None:
    lab = bench([FLAT, *CLOSED_HOUR, FLAT])
    ticket = lab.opened(BUY)
    lab.minute(30)
    assert lab.market(BUY).retcode == 10018
    assert lab.market(SELL, position=ticket).retcode == 10018
    assert lab.levels(ticket, sl=price(-50)).retcode == 10018
    lab.minute(61.5)
    assert lab.market(SELL, position=ticket).retcode == 10009


def test_a_few_minutes_without_a_trade_are_not_a_closed_market(bench: MakeLab) -> None:
    lab = bench([FLAT, *[None] * 10, FLAT])
    lab.minute(6)
    assert lab.market(BUY).retcode == 10009


def test_the_market_is_closed_after_the_recording(bench: MakeLab) -> None:
    lab = bench([FLAT])
    lab.minute(5)
    assert lab.market(BUY).retcode == 10018


@pytest.mark.parametrize(
    ("request_", "retcode"),
    [
        ({"action": 99}, 10013),
        ({"action": 1, "type": 0, "volume": 0.1, "symbol": "NOSUCH"}, 10013),
        ({"action": 1, "type": 2, "volume": 0.1}, 10035),
        ({"action": 6, "sl": 1.0}, 10013),
        ({"action": 6, "position": 12345, "sl": 1.0}, 10036),
        ({"action": 1, "type": 1, "volume": 0.1, "position": 12345}, 10036),
        ({"action": 8, "order": 12345}, 10013),
        ({"action": 5, "type": 0, "volume": 0.1, "price": 1.0}, 10035),
    ],
)
def test_a_request_that_means_nothing_is_refused(bench: MakeLab, request_: dict[str, Any], retcode: int) -> None:
    assert bench([FLAT] * 5).send(**request_).retcode == retcode


def test_a_position_of_another_symbol_cannot_be_named(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY)
    assert lab.send(action=6, position=ticket, symbol="OTHER", sl=price(-50)).retcode == 10013


def test_margin_beyond_the_free_margin_is_no_money(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"balance": 1_000.0})
    assert lab.market(BUY, 1.0).retcode == 10019  # 100,000 x 1.10002 / 100 = 1,100.02
    assert lab.market(BUY, 0.9).retcode == 10009
    assert lab.market(BUY, 0.1).retcode == 10019


@pytest.mark.parametrize(
    ("account", "spec", "retcode"),
    [
        ({"limit_positions": 1}, {}, 10040),
        ({}, {"volume_limit_lots": 0.15}, 10034),
    ],
)
def test_limits_of_positions_and_volume_refuse_what_exceeds_them(
    bench: MakeLab, account: dict[str, Any], spec: dict[str, Any], retcode: int
) -> None:
    lab = bench([FLAT] * 5, account=account, spec=spec)
    lab.opened(BUY)
    assert lab.market(BUY).retcode == retcode


def test_a_volume_limit_counts_positions_and_orders_of_one_direction(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"volume_limit_lots": 0.25})
    lab.opened(BUY, 0.1)
    limit = {"action": 5, "price": price(-50), "type_filling": 2}
    assert lab.send(**limit, type=2, volume=0.1).retcode == 10009
    assert lab.send(**limit, type=2, volume=0.1).retcode == 10034
    assert lab.market(BUY, 0.1).retcode == 10034
    assert lab.market(SELL, 0.25).retcode == 10009


def test_a_position_below_the_minimum_can_still_be_closed_whole(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, 0.03)
    lab.terminal.simulation.world.set("symbol.EURUSD.volume_min_lots", 0.1)
    assert lab.market(SELL, 0.02, position=ticket).retcode == 10014
    assert lab.market(SELL, 0.03, position=ticket).retcode == 10009


def test_instant_execution_requotes_beyond_the_deviation(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"exemode": 1})
    assert lab.market(BUY, price=price(-4), deviation=5).retcode == 10004  # the ask stands at 2
    assert lab.market(BUY, price=price(-3), deviation=5).retcode == 10009


def test_market_execution_fills_at_the_market_whatever_price_was_asked(bench: MakeLab) -> None:
    result = bench([FLAT] * 5).market(BUY, price=0.5, deviation=0)
    assert (result.retcode, result.price) == (10009, price(2))


def test_a_fifo_account_closes_the_oldest_position_only(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"fifo_close": True})
    first, second = lab.opened(BUY), lab.opened(BUY)
    assert lab.market(SELL, position=second).retcode == 10045
    assert lab.market(SELL, position=first).retcode == 10009


def test_a_position_near_its_stop_is_frozen(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec={"freeze_level_points": 30})
    ticket = lab.opened(BUY, sl=price(-20))
    assert lab.levels(ticket, sl=price(-15)).retcode == 10029
    assert lab.market(SELL, position=ticket).retcode == 10029


def test_a_symbol_outside_market_watch_has_no_quotes_to_trade_on(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    assert lab.terminal.symbol_select(lab.symbol, False)
    assert lab.terminal.symbol_info_tick(lab.symbol) is None
    assert lab.market(BUY).retcode == 10021
    assert lab.terminal.symbol_select(lab.symbol, True)
    assert lab.market(BUY).retcode == 10009
    assert not lab.terminal.symbol_select(lab.symbol, False)


def test_order_check_judges_without_acting(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": BUY}
    checked = lab.terminal.order_check(request)
    assert checked is not None
    assert (checked.retcode, checked.margin, checked.request.volume) == (0, 110.0, 0.1)
    refused = lab.terminal.order_check(request | {"volume": 0.001})
    assert refused is not None
    assert refused.retcode == 10014
    assert lab.terminal.positions_total() == 0

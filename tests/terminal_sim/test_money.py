"""Money: exact to the cent, in the account's currency."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, MINUTE_MS, TUESDAY, Minute, price, utc_ms

from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.grid import divide
from dtms.terminal.simulated.recording import BarRecording, write_recording

BUY, SELL = 0, 1


def one_price(folder: Path, symbol: str, digits: int, at: float) -> SimulatedTerminal:
    """A terminal on a market that stands still at one price, with a spread of one point."""
    ms = utc_ms(TUESDAY) + np.arange(60, dtype=np.int64) * MINUTE_MS
    flat, ones = np.full(60, at), np.ones(60, dtype=np.int64)
    bars = BarRecording(minutes=1, ms=ms, open=flat, high=flat, low=flat, close=flat, volume=ones, spread_points=ones)
    write_recording(folder / f"{symbol}.csv.gz", bars, digits)
    spec = {"name": symbol, "recording": f"{symbol}.csv.gz", "typical_spread_points": 1, "wide_spread_factor": 1}
    terminal, _ = stepped_terminal(load_config({"start": "2024-01-16T10:30:30Z", "symbols": [spec]}, folder))
    assert terminal.initialize()
    return terminal


@pytest.mark.parametrize(
    ("symbol", "digits", "at", "side", "lots", "entry", "exit_", "profit"),
    [
        ("EURUSD", 5, 1.1, BUY, 1.0, 1.10000, 1.10001, 1.0),
        ("EURUSD", 5, 1.1, SELL, 0.37, 1.10123, 1.09876, 91.39),
        ("XAUUSD", 2, 2000.0, BUY, 0.05, 2000.00, 1990.01, -49.95),
        ("BTCUSD", 2, 42000.0, BUY, 0.01, 42000.00, 42000.50, 0.01),  # half a cent rounds away from zero
        ("BTCUSD", 2, 42000.0, SELL, 0.01, 42000.00, 42000.50, -0.01),
        ("USDJPY", 3, 150.0, BUY, 1.0, 150.000, 151.000, 662.25),  # 100,000 yen at 151.000
        ("USDJPY", 3, 150.0, SELL, 0.3, 150.000, 149.250, 150.75),  # 22,500 yen at 149.250
    ],
)
def test_profit_is_exact_in_the_accounts_currency(
    tmp_path: Path,
    symbol: str,
    digits: int,
    at: float,
    side: int,
    lots: float,
    entry: float,
    exit_: float,
    profit: float,
) -> None:
    assert one_price(tmp_path, symbol, digits, at).order_calc_profit(side, symbol, lots, entry, exit_) == profit


@pytest.mark.parametrize(
    ("symbol", "digits", "at", "lots", "margin"),
    [
        ("EURUSD", 5, 1.1, 0.5, 550.0),
        ("USDJPY", 3, 150.0, 0.5, 500.0),
        ("XAUUSD", 2, 2000.0, 0.1, 200.0),
        ("BTCUSD", 2, 42000.0, 0.1, 210.0),
    ],
)
def test_margin_is_the_worth_over_the_leverage(
    tmp_path: Path, symbol: str, digits: int, at: float, lots: float, margin: float
) -> None:
    assert one_price(tmp_path, symbol, digits, at).order_calc_margin(BUY, symbol, lots, at) == margin


def test_a_calculation_with_wrong_arguments_is_none(tmp_path: Path) -> None:
    terminal = one_price(tmp_path, "EURUSD", 5, 1.1)
    assert terminal.order_calc_margin(5, "EURUSD", 1.0, 1.1) is None
    assert terminal.order_calc_profit(0, "NOSUCH", 1.0, 1.1, 1.2) is None
    assert terminal.last_error()[0] == -2


def test_the_tick_value_of_a_yen_pair_is_in_dollars(tmp_path: Path) -> None:
    info = one_price(tmp_path, "USDJPY", 3, 150.0).symbol_info("USDJPY")
    assert info is not None
    assert info.trade_tick_value_loss == pytest.approx(100_000 * 0.001 / 150.0)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_division_rounds_halves_away_from_zero_and_mirrors(top: int, bottom: int) -> None:
    whole = divide(top, bottom)
    assert abs(2 * (whole * bottom - top)) <= bottom
    assert divide(-top, bottom) == -whole


def test_balance_equity_and_margin_follow_a_trade(bench: MakeLab) -> None:
    """Bought at 2 and quoted at 0, then at 100; commission 3.5 a lot and side; the deals add up to the balance."""
    lab = bench([FLAT, (0, 100, 0, 100), (100,) * 4], spec={"commission_per_lot": 3.5})
    ticket = lab.opened(BUY, 1.0)
    opened = lab.terminal.account_info()
    assert opened is not None
    assert (opened.balance, opened.profit, opened.equity, opened.margin) == (9_996.5, -2.0, 9_994.5, 1_100.02)
    lab.minute(2)
    risen = lab.terminal.account_info()
    assert risen is not None
    assert (risen.equity, risen.margin_free) == (10_094.5, 8_994.48)
    assert risen.margin_level == pytest.approx(10_094.5 / 1_100.02 * 100)
    lab.market(SELL, 1.0, position=ticket)
    closed = lab.terminal.account_info()
    assert closed is not None
    assert (closed.balance, closed.equity, closed.margin) == (10_091.0, 10_091.0, 0.0)
    deals = lab.terminal.history_deals_get(0, 2**33)
    assert deals is not None
    assert round(sum(d.profit + d.commission + d.swap for d in deals), 2) == closed.balance


def test_a_hedge_is_charged_less_margin_than_two_positions(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(BUY, 1.0)
    lab.opened(SELL, 1.0)
    info = lab.terminal.account_info()
    assert info is not None
    assert info.margin == 550.01  # half of the mean of both sides, 1,100.02 and 1,100.00


@pytest.mark.parametrize(
    ("begin", "nights"),
    [
        ("2024-01-16T21:58Z", 1),  # Tuesday's end
        ("2024-01-17T21:58Z", 3),  # Wednesday's end carries the weekend
        ("2024-07-16T20:58Z", 1),  # in US summer time the server's midnight is an hour earlier in UTC
    ],
)
def test_swap_is_charged_at_the_servers_midnight_threefold_on_wednesday(
    bench: MakeLab, begin: str, nights: int
) -> None:
    lab = bench([FLAT] * 10, begin=begin, spec={"swap_long_points": -7.1, "swap_short_points": 3.2})
    buy, sell = lab.opened(BUY, 1.0), lab.opened(SELL, 1.0)
    lab.minute(1.9)
    before = lab.position(buy)
    assert before is not None
    assert before.swap == 0.0
    lab.minute(2.1)
    long, short = lab.position(buy), lab.position(sell)
    assert long is not None
    assert short is not None
    assert (long.swap, short.swap) == (round(-7.1 * nights, 2), round(3.2 * nights, 2))
    lab.market(SELL, 0.5, position=buy)
    rest = lab.position(buy)
    assert rest is not None
    assert lab.terminal.simulation.ledger.deals[-1].swap_cents + round(rest.swap * 100) == round(long.swap * 100)


def test_saturday_and_sunday_cost_no_swap(bench: MakeLab) -> None:
    silent: list[Minute] = [None] * (48 * 60)
    lab = bench([FLAT, FLAT, *silent, FLAT], begin="2024-01-19T21:57Z", spec={"swap_long_points": -7.1})
    ticket = lab.opened(BUY, 1.0)
    lab.minute(48 * 60 + 2)
    position = lab.position(ticket)
    assert position is not None
    assert position.swap == -7.1  # Friday's end alone


def test_a_position_counts_at_the_price_that_would_close_it(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    positions = [lab.position(lab.opened(side)) for side in (BUY, SELL)]
    assert [(p.price_open, p.price_current, p.profit) for p in positions if p] == [
        (price(2), price(0), -0.2),
        (price(0), price(2), -0.2),
    ]

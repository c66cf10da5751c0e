"""The broker's stop-out: at the tick at which the margin is gone, the largest loser first, and no more than must."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, MINUTE_MS, TUESDAY, Lab, Minute, price, utc_ms

from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal
from dtms.terminal.simulated.clock import SteppedClock
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.recording import BarRecording, write_recording
from dtms.terminal.simulated.structs import TradeDeal

BUY, SELL = 0, 1
FALL: Minute = (0, 0, -1000, -1000)
RISE: Minute = (0, 1000, 0, 1000)
LOW: Minute = (-1000, -1000, -1000, -1000)
NIGHT: list[Minute] = [None] * 600
POOR = {"balance": 1_200.0}


def closing(lab: Lab, ticket: int) -> TradeDeal:
    return (lab.terminal.history_deals_get(position=ticket) or ())[-1]


@pytest.mark.parametrize(("side", "minute"), [(BUY, FALL), (SELL, RISE)])
def test_a_position_is_closed_at_the_first_tick_that_takes_the_level(bench: MakeLab, side: int, minute: Minute) -> None:
    """1,200 less 1 a point: at half of the margin of about 1,100 nothing holds the position any more."""
    lab = bench([minute, FLAT], account=POOR)
    ticket = lab.opened(side, 1.0, magic=5, comment="mine")
    opened = lab.position(ticket)
    info = lab.terminal.account_info()
    assert opened is not None
    assert info is not None
    lab.minute(1)
    assert lab.position(ticket) is None
    deal = closing(lab, ticket)
    ticks = lab.terminal.copy_ticks_range(lab.symbol, opened.time, deal.time + 60, -1)
    assert ticks is not None
    prices = np.rint(ticks["bid" if side == BUY else "ask"] * 1e5)
    lost = (round(opened.price_open * 1e5) - prices) * (1 if side == BUY else -1)
    first = int(np.argmax(1_200 - lost <= info.margin / 2))
    assert (deal.price, deal.time_msc) == (prices[first] / 1e5, ticks["time_msc"][first])
    assert (deal.reason, deal.entry, deal.magic) == (6, 1, 5)
    equity = 1_200 - lost[first]
    assert deal.comment == f"[so {equity / info.margin * 100:.2f}%/{equity:.2f}/{info.margin:.2f}]"[:31]
    order = (lab.terminal.history_orders_get(ticket=deal.order) or ())[0]
    assert order.reason == 6


def test_above_the_level_nothing_is_closed(bench: MakeLab) -> None:
    lab = bench([(0, 0, -600, -600), FLAT], account=POOR)
    ticket = lab.opened(BUY, 1.0)
    lab.minute(1)
    info = lab.terminal.account_info()
    assert info is not None
    assert 50 < info.margin_level < info.margin_so_call
    assert lab.position(ticket) is not None


def test_the_largest_loser_goes_first_and_the_rest_stays_when_that_is_enough(bench: MakeLab) -> None:
    lab = bench([(0, 0, -800, -800), (-800,) * 4], account={"balance": 1_300.0})
    small, large = lab.opened(BUY, 0.2), lab.opened(BUY, 0.8)
    lab.minute(2)
    assert lab.position(large) is None
    assert lab.position(small) is not None


def test_one_leg_of_a_hedge_may_vanish_and_leave_the_other_naked(bench: MakeLab) -> None:
    """A trade that is hedged by half loses on; without it the margin is halved, and the hedge stays behind alone."""
    minutes: list[Minute] = [(-160 * i, -160 * i, -160 * (i + 1), -160 * (i + 1)) for i in range(10)]
    lab = bench([*minutes, FLAT], account={"balance": 1_150.0}, manners={"margin_check": "after"})
    trade = lab.opened(BUY, 1.0)
    hedge = lab.opened(SELL, 0.5)
    lab.minute(10)
    assert lab.position(trade) is None
    assert closing(lab, trade).reason == 6
    assert lab.position(hedge) is not None


def test_a_closed_market_is_stopped_out_at_the_first_price_after_it(bench: MakeLab) -> None:
    lab = bench([FLAT, *NIGHT, LOW], account=POOR)
    ticket = lab.opened(BUY, 1.0)
    lab.minute(600)
    assert lab.position(ticket) is not None
    lab.minute(601.5)
    deal = closing(lab, ticket)
    assert (deal.reason, deal.price) == (6, price(-1000))


def test_the_nights_swap_can_take_the_margin(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, begin="2024-01-16T21:58Z", account=POOR, spec={"swap_long_points": -700.0})
    ticket = lab.opened(BUY, 1.0)
    lab.minute(1.9)
    assert lab.position(ticket) is not None
    lab.minute(3)
    assert closing(lab, ticket).reason == 6


def test_a_level_in_money_is_a_sum_of_equity(bench: MakeLab) -> None:
    account = POOR | {"margin_so_mode": 1, "stop_out_money": 900.0, "margin_call_money": 1_000.0}
    lab = bench([FALL, FLAT], account=account)
    info = lab.terminal.account_info()
    assert info is not None
    assert (info.margin_so_mode, info.margin_so_so, info.margin_so_call) == (1, 900.0, 1_000.0)
    ticket = lab.opened(BUY, 1.0)
    lab.minute(1)
    assert -500 < closing(lab, ticket).profit <= -300  # within one step of the market


def test_a_stop_at_the_same_tick_goes_before_the_brokers(bench: MakeLab) -> None:
    lab = bench([FLAT, *NIGHT, LOW], account=POOR)
    ticket = lab.opened(BUY, 1.0, sl=price(-50))
    lab.minute(602)
    assert closing(lab, ticket).reason == 4


def test_a_broker_may_say_nothing_in_the_comment(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT], account=POOR, manners={"level_comments": False})
    ticket = lab.opened(BUY, 1.0, comment="mine")
    lab.minute(1)
    assert (closing(lab, ticket).reason, closing(lab, ticket).comment) == (6, "mine")


# Several symbols, of which one converts the money of another.

MARKETS = {"EURUSD": ("EURUSD", 1.1, 5), "GBPUSD": ("GBPUSD", 1.3, 5), "GBPJPY": ("USDJPY", 190.0, 3)}
MARKETS |= {"USDJPY": ("USDJPY", 146.0, 3)}
LENGTH_MINUTES = 400


def walk(folder: Path, symbol: str, seed: int) -> Path:
    """Write a market that wanders by about a hundredth of its price."""
    _, at, digits = MARKETS[symbol]
    path = folder / f"{symbol}-{seed}.csv.gz"
    dice = np.random.default_rng((seed, len(symbol), sum(map(ord, symbol))))
    closes = at * np.exp(np.cumsum(dice.normal(0, 7e-4, LENGTH_MINUTES)))
    opens = np.concatenate(([at], closes[:-1]))
    rounded = [np.round(column, digits) for column in (opens, closes)]
    ones = np.ones(LENGTH_MINUTES, dtype=np.int64)
    bars = BarRecording(
        minutes=1,
        ms=utc_ms(TUESDAY) + np.arange(LENGTH_MINUTES, dtype=np.int64) * MINUTE_MS,
        open=rounded[0],
        high=np.maximum(*rounded),
        low=np.minimum(*rounded),
        close=rounded[1],
        volume=ones,
        spread_points=ones * 5,
        about={"symbol": symbol},
    )
    write_recording(path, bars, digits)
    return path


def wide_account(folder: Path, seed: int) -> tuple[SimulatedTerminal, SteppedClock]:
    """Positions drawn on four symbols, as many as the money carries."""
    symbols: list[dict[str, Any]] = [
        {"name": name, "like": like, "recording": str(walk(folder, name, seed))} for name, (like, *_) in MARKETS.items()
    ]
    symbols[2] |= {"currency_base": "GBP"}
    given = {"start": "2024-01-16T10:05Z", "symbols": symbols, "account": {"balance": 3_000.0}}
    terminal, clock = stepped_terminal(load_config(given, folder))
    assert terminal.initialize()
    dice = random.Random(seed)
    for _ in range(12):
        symbol, lots = dice.choice(list(MARKETS)), round(dice.uniform(0.05, 0.9), 2)
        request = {"action": 1, "symbol": symbol, "type": dice.randrange(2), "volume": lots, "type_filling": 0}
        terminal.order_send(request)
    return terminal, clock


def level_of(terminal: SimulatedTerminal) -> float:
    info = terminal.account_info()
    assert info is not None
    return info.margin_level if info.margin else 1e9


@pytest.mark.parametrize("seed", range(6))
def test_looking_at_every_tick_stops_out_alike(tmp_path: Path, seed: int) -> None:
    """Played in one go, and tick by tick with a look at the level between: the same deals, and never one too late."""
    at_once, clock = wide_account(tmp_path, seed)
    end_ms = clock.now_ms() + (LENGTH_MINUTES - 10) * MINUTE_MS
    at_once.simulation.play_to(end_ms)
    by_tick, clock = wide_account(tmp_path, seed)
    moments = {
        int(ms)
        for feed in by_tick.simulation.world.feeds.values()
        for block, start, stop in feed.spans(clock.now_ms(), end_ms)
        for ms in block.ms[start:stop]
    }
    for ms in sorted(moments):
        if not by_tick.positions_total():
            break
        by_tick.simulation.play_to(ms)
        assert level_of(by_tick) > 50
    by_tick.simulation.play_to(end_ms)
    assert by_tick.simulation.ledger.deals == at_once.simulation.ledger.deals


def test_some_of_those_accounts_are_stopped_out_and_some_are_not(tmp_path: Path) -> None:
    stopped = []
    for seed in range(6):
        terminal, clock = wide_account(tmp_path, seed)
        terminal.simulation.play_to(clock.now_ms() + (LENGTH_MINUTES - 10) * MINUTE_MS)
        stopped.append(sum(deal.reason == 6 for deal in terminal.simulation.ledger.deals))
    assert any(stopped)
    assert not all(stopped)
    assert max(stopped) > 1

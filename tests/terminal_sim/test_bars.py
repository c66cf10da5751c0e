"""Bars: minutes put together give what was recorded, and nothing is known before it happened."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, MINUTE_MS

from dtms.terminal.simulated.api import stepped_terminal
from dtms.terminal.simulated.config import SHIPPED, SimConfig, load_config
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Feed
from dtms.terminal.simulated.recording import load_recording
from dtms.terminal.simulated.server_time import ServerClock
from dtms.terminal.simulated.spec import BUILT_IN
from dtms.terminal.simulated.ticks import TICKS_PER_MINUTE, Bars, SpreadRule, draw_block

FILES = (
    "BTCUSD_M15_20250101_20251231", "BTCUSD_M1_20260105_20260318", "BTCUSD_M5_20250918_20260318",
    "EURUSD_M15_20220523_20260601", "EURUSD_M5_20191011_20200614", "EURUSD_M5_20260326_20260702",
    "GBPUSD_M15_20220621_20260701", "GBPUSD_M1_20120201_20120301", "GBPUSD_M5_20260326_20260702",
    "USDJPY_M15_20230615_20250619", "USDJPY_M1_20130201_20130301", "USDJPY_M5_20260513_20260709",
    "XAUUSD_M15_20220303_20260529", "XAUUSD_M1_20251203_20260318", "XAUUSD_M5_20250701_20260318",
)  # fmt: skip
TICK_FILES = ("XAUUSD_ticks_20140502", "EURUSD_ticks_20140502", "BTCUSD_ticks_20230220T12", "USDJPY_ticks_20130101T22")
CLOCK = ServerClock("new_york+7")
TIMEFRAMES = (MT5.TIMEFRAME_M1, MT5.TIMEFRAME_M5, MT5.TIMEFRAME_M15, MT5.TIMEFRAME_H1, MT5.TIMEFRAME_D1)
OTHERS = (MT5.TIMEFRAME_M10, MT5.TIMEFRAME_H4, MT5.TIMEFRAME_W1, MT5.TIMEFRAME_MN1)
BLOCKS_CHECKED = 40


def put_together(minutes: Bars, step_minutes: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Aggregate minutes: open, high, low, close, volume per bar."""
    _, first = np.unique(minutes.ms // (step_minutes * MINUTE_MS), return_index=True)
    last = np.append(first[1:], len(minutes)) - 1
    return [
        minutes.open[first],
        np.maximum.reduceat(minutes.high, first),
        np.minimum.reduceat(minutes.low, first),
        minutes.close[last],
        np.add.reduceat(minutes.volume, first),
    ]


@pytest.mark.parametrize("name", FILES)
def test_minutes_put_together_are_the_recorded_bars_exactly(data_dir: Path, name: str) -> None:
    """Checked on up to 40 stretches of four days, spread over the file."""
    recording = load_recording(data_dir / "bars" / f"{name}.parquet")
    feed = Feed(recording, BUILT_IN[name[:6]], CLOCK)
    numbers = np.unique(feed.base.ms // (4 * 1440 * MINUTE_MS))
    for number in numbers[:: max(1, len(numbers) // BLOCKS_CHECKED)]:
        block = feed.block(int(number))
        made = put_together(block.minutes, feed.minutes)
        edges = np.array([number, number + 1], dtype=np.int64) * (4 * 1440 * MINUTE_MS)
        start, stop = np.searchsorted(feed.base.ms, edges)
        kept = feed.base.slice(int(start), int(stop))
        for one, other in zip(made, (kept.open, kept.high, kept.low, kept.close, kept.volume), strict=True):
            assert np.array_equal(one, other)
        assert np.all(np.diff(block.ms) > 0)
        assert np.all(block.ask > block.bid - 1)
    prices = recording.close  # type: ignore[union-attr]
    assert np.array_equal(feed.base.close / feed.spec.scale, prices)


@pytest.mark.parametrize("name", TICK_FILES)
def test_recorded_ticks_are_played_as_they_were(data_dir: Path, name: str) -> None:
    recording = load_recording(data_dir / "ticks" / f"{name}.parquet")
    symbol = name[:6]
    digits = 3 if symbol == "XAUUSD" else BUILT_IN[symbol].digits
    path = str(data_dir / "ticks" / f"{name}.parquet")
    middle = int(recording.ms[len(recording.ms) // 2])
    start = datetime.fromtimestamp(middle / 1000, UTC).isoformat()
    symbols = [{"name": symbol, "recording": path, "digits": digits}]
    terminal, clock = stepped_terminal(load_config({"start": start, "server_clock": "utc", "symbols": symbols}))
    assert terminal.initialize()
    seen = terminal.copy_ticks_from(symbol, 0, 10**7, MT5.COPY_TICKS_ALL)
    assert seen is not None
    known = int(np.searchsorted(recording.ms, middle, side="right"))
    assert np.array_equal(seen["time_msc"], recording.ms[:known])
    assert np.array_equal(seen["bid"], np.round(recording.bid[:known], digits))  # type: ignore[union-attr]
    assert np.array_equal(seen["ask"], np.round(recording.ask[:known], digits))  # type: ignore[union-attr]
    clock.advance_to(int(recording.ms[-1]) + 3_600_000)
    rates = terminal.copy_rates_from_pos(symbol, MT5.TIMEFRAME_M1, 0, 2_000)
    assert rates is not None
    assert rates["high"].max() == np.round(recording.bid.max(), digits)  # type: ignore[union-attr]


@pytest.mark.parametrize("timeframe", [*TIMEFRAMES, *OTHERS])
def test_the_forming_bar_is_made_of_the_ticks_so_far_and_of_nothing_else(timeframe: int) -> None:
    """On the shipped hours: at odd moments the newest bar agrees with the ticks that copy_ticks shows."""
    terminal, clock = stepped_terminal(shipped("2017-10-03T08:00:00Z"))
    assert terminal.initialize()
    for seconds in (13, 1, 47, 600, 1_741, 9_000, 86_400, 3):
        clock.advance(seconds)
        rates = terminal.copy_rates_from_pos("EURUSD", timeframe, 0, 1)
        assert rates is not None
        ticks = terminal.copy_ticks_range("EURUSD", int(rates["time"][0]), 2**33, MT5.COPY_TICKS_ALL)
        assert ticks is not None
        bid = ticks["bid"]
        (row,) = rates
        assert (row["open"], row["high"], row["low"], row["close"]) == (bid[0], bid.max(), bid.min(), bid[-1])


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_what_is_shown_now_does_not_depend_on_what_comes(tmp_path: Path, timeframe: int) -> None:
    """The same moment of a recording and of the same recording cut off two hours later shows the same bars."""
    whole, cut = SHIPPED / "EURUSD_H1_2017.csv.gz", tmp_path / "cut.csv"
    lines = gzip.decompress(whole.read_bytes()).decode().splitlines()
    last = next(i for i, line in enumerate(lines) if line.startswith("2017-10-03T10:00"))
    cut.write_text("\n".join(lines[: last + 1]) + "\n", encoding="utf-8")
    shown = []
    for path in (whole, cut):
        terminal, _ = stepped_terminal(shipped("2017-10-03T08:40:31Z", path))
        assert terminal.initialize()
        rates = terminal.copy_rates_from_pos("EURUSD", timeframe, 0, 300)
        assert rates is not None
        shown.append((rates, terminal.symbol_info_tick("EURUSD"), terminal.symbol_info("EURUSD")))
    assert np.array_equal(shown[0][0], shown[1][0])
    assert shown[0][1:] == shown[1][1:]


def shipped(start: str, path: Path = SHIPPED / "EURUSD_H1_2017.csv.gz") -> SimConfig:
    return load_config({"start": start, "symbols": [{"name": "EURUSD", "recording": str(path)}]})


def test_the_ways_to_ask_for_bars_agree() -> None:
    terminal, _ = stepped_terminal(shipped("2017-10-03T08:40:31Z"))
    assert terminal.initialize()
    for timeframe in TIMEFRAMES:
        rows = terminal.copy_rates_from_pos("EURUSD", timeframe, 0, 50)
        assert rows is not None
        assert len(rows) == 50
        earlier = terminal.copy_rates_from_pos("EURUSD", timeframe, 3, 47)
        before = terminal.copy_rates_from("EURUSD", timeframe, int(rows["time"][-1]), 50)
        between = terminal.copy_rates_range("EURUSD", timeframe, int(rows["time"][10]), int(rows["time"][20]))
        for asked, same in ((earlier, rows[:-3]), (before, rows), (between, rows[10:21])):
            assert asked is not None
            assert np.array_equal(asked, same)


def test_coarser_bars_are_their_finer_ones_put_together() -> None:
    terminal, _ = stepped_terminal(shipped("2017-10-03T08:40:31Z"))
    assert terminal.initialize()
    fine = terminal.copy_rates_from_pos("EURUSD", MT5.TIMEFRAME_M1, 0, 3_000)
    assert fine is not None
    for minutes, timeframe in ((5, MT5.TIMEFRAME_M5), (15, MT5.TIMEFRAME_M15), (60, MT5.TIMEFRAME_H1)):
        coarse = terminal.copy_rates_from_pos("EURUSD", timeframe, 0, 20)
        assert coarse is not None
        for row in coarse:
            part = fine[(fine["time"] >= row["time"]) & (fine["time"] < row["time"] + minutes * 60)]
            assert (row["open"], row["close"]) == (part["open"][0], part["close"][-1])
            assert (row["high"], row["low"]) == (part["high"].max(), part["low"].min())
            assert row["tick_volume"] == part["tick_volume"].sum()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=4, max_size=4),
    st.sampled_from([1, 5, 15, 60]),
    st.integers(0, 10**6),
    st.integers(0, 10_000),
)
def test_a_drawn_path_touches_its_bar_and_never_leaves_it(
    prices: list[int], minutes: int, period: int, volume: int
) -> None:
    o, c = prices[0], prices[1]
    high, low = max(prices), min(prices)
    ms = np.array([period * minutes * MINUTE_MS], dtype=np.int64)
    one = [np.array([value], dtype=np.int64) for value in (o, high, low, c, volume, 3)]
    bars = Bars(ms=ms, open=one[0], high=one[1], low=one[2], close=one[3], volume=one[4], spread_points=one[5])
    rule = SpreadRule(typical_points=8, wide_factor=4, wide=np.zeros((1, minutes), dtype=np.bool_))
    block = draw_block(bars, minutes, 99, rule)
    assert (block.bid[0], block.bid.max(), block.bid.min(), block.bid[-1]) == (o, high, low, c)
    assert len(block.ms) == minutes * TICKS_PER_MINUTE
    assert block.ms[0] - ms[0] < 1_000
    assert np.all(np.diff(block.ms) > 0)
    assert block.ms[-1] < ms[0] + minutes * MINUTE_MS
    assert int(block.minutes.volume.sum()) == volume
    assert np.all(block.ask - block.bid >= 3)
    again = draw_block(bars, minutes, 99, rule)
    assert np.array_equal(block.bid, again.bid)
    assert np.array_equal(block.ask, again.ask)


def test_minutes_inside_hours_have_structure_of_their_own() -> None:
    """Within an hour the fifteen-minute closes turn as a market's do: neither a straight line nor pure zigzag."""
    terminal, _ = stepped_terminal(shipped("2017-10-20T12:00:00Z"))
    assert terminal.initialize()
    rows = terminal.copy_rates_from_pos("EURUSD", MT5.TIMEFRAME_M15, 1, 1_000)
    assert rows is not None
    moves = np.diff(rows["close"])
    turns = np.mean(np.sign(moves[1:]) != np.sign(moves[:-1]))
    assert 0.3 < turns < 0.7
    assert np.mean((rows["high"] - rows["low"]) > 1.2 * np.abs(rows["close"] - rows["open"])) > 0.5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("NOSUCH", 15, 0, 10), -4),
        (("EURUSD", 7, 0, 10), -2),
        (("EURUSD", 15, -1, 10), -2),
        (("EURUSD", 15, 0, 0), -2),
        ((5, 15, 0, 10), -2),
    ],
)
def test_a_wrong_question_about_bars_is_none_with_an_error(
    bench: MakeLab, arguments: tuple[object, ...], code: int
) -> None:
    terminal = bench([FLAT] * 5).terminal
    assert terminal.copy_rates_from_pos(*arguments) is None  # type: ignore[arg-type]
    assert terminal.last_error()[0] == code


def test_before_the_first_tick_of_a_period_the_newest_bar_is_the_last_one(bench: MakeLab) -> None:
    lab = bench([FLAT, *[None] * 30, FLAT])
    lab.minute(10)
    rates = lab.terminal.copy_rates_from_pos(lab.symbol, 1, 0, 1)
    assert rates is not None
    assert rates["time"][0] == lab.begin_ms // 1000 + 2 * 3600


def test_quotes_have_no_trades(bench: MakeLab) -> None:
    terminal = bench([FLAT] * 5).terminal
    ticks = terminal.copy_ticks_from("EURUSD", 0, 10, MT5.COPY_TICKS_TRADE)
    assert ticks is not None
    assert len(ticks) == 0

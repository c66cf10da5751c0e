"""The gates that widen a trailing stop: each by its definition, without a look ahead, mirrored in a mirrored market."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.market.made import MONDAY_MS, bars_of
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, XAUUSD_2025, closed_before, m15_of, mirrored, recorded

from dtms.domain.market import Bars, Timeframe
from dtms.market.bars import BarBook
from dtms.market.gates import WINDOW, Gates, GatesBook, read_gates, volume_nodes
from dtms.market.levels import read_levels
from dtms.settings import ExitSettings, Settings

SETTINGS = Settings()
RULES = SETTINGS.exits
MOMENTS = tuple(range(4_000, 30_000, 2_603))
names = pytest.mark.parametrize("name", [EURUSD_2019, XAUUSD_2025, BTCUSD_2025])


def at(name: str, row: int) -> tuple[Bars, Bars]:
    """Return what was closed when the row's M5 bar closed."""
    m5 = recorded(name)[: row + 1]
    return m5, closed_before(m15_of(name), m5.last_close_ms)


def gates_at(name: str, row: int) -> Gates:
    gates = read_gates(*at(name, row), SETTINGS)
    assert gates is not None
    return gates


# --- on recorded markets ---------------------------------------------------------------------------------------------


@names
def test_m15_bars_that_close_later_than_the_m5_bar_change_nothing(name: str) -> None:
    for row in MOMENTS:
        m5, m15 = at(name, row)
        assert read_gates(m5, m15_of(name), SETTINGS) == read_gates(m5, m15, SETTINGS)
        assert len(m15_of(name)) > len(m15)


@names
def test_a_longer_history_changes_nothing(name: str) -> None:
    for row in MOMENTS[:4]:
        m5, m15 = at(name, row)
        assert read_gates(m5[-WINDOW:], m15[-WINDOW:], SETTINGS) == read_gates(m5, m15, SETTINGS)


@names
def test_a_mirrored_market_has_the_same_gates(name: str) -> None:
    for row in MOMENTS:
        m5, m15 = at(name, row)
        gates, turned = gates_at(name, row), read_gates(mirrored(m5), mirrored(m15), SETTINGS)
        assert turned is not None
        assert (turned.is_squeezed, turned.timeframes_disagree) == (gates.is_squeezed, gates.timeframes_disagree)
        assert gates.stretch_sigma is not None
        assert turned.stretch_sigma == pytest.approx(-gates.stretch_sigma, rel=1e-9)
        assert turned.node_distance_atr == pytest.approx(gates.node_distance_atr, rel=1e-6, abs=1e-6)


@names
def test_squeeze_and_stretch_are_those_of_the_definition(name: str) -> None:
    """Written out bar by bar, in another way than the program does it."""
    for row in MOMENTS:
        m5, m15 = at(name, row)
        bars, gates = m15[-WINDOW:], gates_at(name, row)
        assert gates.is_squeezed == _squeezed_by_hand(bars)
        assert gates.stretch_sigma == pytest.approx(_stretch_by_hand(bars, float(m5.close[-1])), rel=1e-9)


def _squeezed_by_hand(bars: Bars) -> bool:
    close = bars.close[-20:].tolist()
    mean = sum(close) / 20
    deviation = math.sqrt(sum((c - mean) ** 2 for c in close) / 20)
    ranges = [
        max(h, before) - min(low, before)
        for h, low, before in zip(bars.high[1:].tolist(), bars.low[1:].tolist(), bars.close[:-1].tolist(), strict=True)
    ]
    atr = sum(ranges[:20]) / 20
    for one in ranges[20:]:
        atr += (one - atr) / 20
    return bool(mean + 2.0 * deviation < mean + 1.5 * atr)


def _stretch_by_hand(bars: Bars, now: float) -> float:
    close = bars.close.tolist()
    average, away = sum(close[:200]) / 200, [0.0] * 200
    for price in close[200:]:
        average += (price - average) * 2 / 201
        away.append(price - average)
    deviation = math.sqrt(sum(a * a for a in away[-200:]) / 200)
    return float((now - average) / deviation)


@names
def test_every_gate_holds_at_times_and_never_most_of_the_time(name: str) -> None:
    read = [gates_at(name, row) for row in range(4_000, 40_000, 400)]
    shares = [
        np.mean([g.is_squeezed for g in read]),
        np.mean([g.timeframes_disagree for g in read]),
        np.mean([abs(g.stretch_sigma or 0.0) > RULES.stretch_sigma for g in read]),
        np.mean([g.node_distance_atr is not None and g.node_distance_atr <= RULES.node_atr for g in read]),
    ]

    assert all(0.01 < share < 0.5 for share in shares), shares


@names
def test_few_prices_of_a_day_stand_out(name: str) -> None:
    """A day is some ten ATR wide: with a node at every other price the gate would say nothing."""
    counts = []
    for row in range(4_000, 40_000, 797):
        m5, m15 = at(name, row)
        atr = read_levels(m15, SETTINGS)
        assert atr is not None
        counts.append(len(volume_nodes(m5[-288:], RULES.node_bin_atr * atr.atr, RULES.node_factor)))

    assert min(counts) >= 1
    assert 2 <= np.median(counts) <= 5


# --- on markets made by hand -----------------------------------------------------------------------------------------


def made(m15_close: np.ndarray, m5_close: np.ndarray | None = None, half_range: float = 0.5) -> tuple[Bars, Bars]:
    """Make M15 bars and M5 bars that close together with the last of them."""
    m15 = bars_of(m15_close.tolist(), half_range=half_range)
    closes = np.repeat(m15_close, 3)[-WINDOW:] if m5_close is None else m5_close
    start_ms = m15.last_close_ms - len(closes) * Timeframe.M5.ms
    m5 = bars_of(closes.tolist(), timeframe=Timeframe.M5, half_range=half_range, start_ms=start_ms)
    return m5, m15


def read(m5: Bars, m15: Bars, settings: Settings = SETTINGS) -> Gates:
    gates = read_gates(m5, m15, settings)
    assert gates is not None
    return gates


def test_closes_that_hardly_move_within_wide_bars_are_a_squeeze() -> None:
    quiet = 3_300.0 + np.tile((0.1, -0.1), 250)
    loud = 3_300.0 + np.concatenate((np.zeros(480), np.arange(20.0) * 3.0))

    assert read(*made(quiet)).is_squeezed
    assert not read(*made(loud)).is_squeezed


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_timeframes_disagree_when_m5_turns_against_m15(sign: float) -> None:
    trend = 3_300.0 + sign * np.arange(500.0) * 0.5
    back = trend[-1] - sign * np.arange(200.0) * 0.3

    assert not read(*made(trend)).timeframes_disagree
    assert read(*made(trend, back)).timeframes_disagree
    assert not read(*made(trend, np.full(200, trend[-1]))).timeframes_disagree


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_price_that_runs_away_from_its_average_is_stretched(sign: float) -> None:
    calm = 3_300.0 + np.sin(np.arange(600.0) / 5.0)
    run = np.concatenate((calm[:-4], 3_300.0 + sign * np.array([4.0, 8.0, 12.0, 16.0])))
    stretch, before = read(*made(run)).stretch_sigma, read(*made(calm)).stretch_sigma

    assert stretch is not None
    assert before is not None
    assert stretch * sign > 2.0 > abs(before)


def test_a_stretch_is_unknown_before_the_average_has_seen_two_periods() -> None:
    wave = 3_300.0 + np.sin(np.arange(600.0))

    assert read(*made(wave[:399])).stretch_sigma is None
    assert read(*made(wave[:400])).stretch_sigma is not None


def test_volume_nodes_are_the_prices_where_volume_peaks() -> None:
    """Most of the volume lies at 3300 and 3310, and some everywhere between."""
    closes = np.concatenate((np.full(60, 3_300.0), np.linspace(3_300.0, 3_310.0, 40), np.full(60, 3_310.0)))
    bars = bars_of(closes.tolist(), timeframe=Timeframe.M5, half_range=0.3)
    nodes = volume_nodes(bars, 0.2, 1.5)

    assert len(nodes) >= 2
    assert np.abs(nodes[:, None] - np.array([3_300.0, 3_310.0])).min(axis=1).max() < 0.4
    assert {3_300.0, 3_310.0} == {min((3_300.0, 3_310.0), key=lambda p: abs(p - node)) for node in nodes.tolist()}


def test_volume_weighs_prices_and_unknown_volume_weighs_all_bars_alike() -> None:
    closes = np.concatenate((np.full(80, 3_300.0), np.linspace(3_300.0, 3_310.0, 40), np.full(20, 3_310.0)))
    bars = bars_of(closes.tolist(), timeframe=Timeframe.M5, half_range=0.3)
    heavy = replace(bars, volume=np.where(np.arange(140) >= 120, 10_000.0, 1.0))
    unknown = replace(bars, volume=np.zeros(140))

    assert np.abs(volume_nodes(heavy, 0.2, 1.5) - 3_310.0).max() < 0.4
    assert np.array_equal(volume_nodes(unknown, 0.2, 1.5), volume_nodes(replace(bars, volume=np.ones(140)), 0.2, 1.5))


def test_the_distance_to_a_node_is_measured_in_atr_of_m15() -> None:
    day = np.concatenate((np.full(200, 3_300.0), np.linspace(3_300.0, 3_304.0, 88)))
    m15 = 3_300.0 + np.tile((1.0, -1.0), 250)
    gates = read(*made(m15, day, half_range=0.4))
    narrow = read(*made(m15, day, half_range=0.4), settings=replace(SETTINGS, exits=ExitSettings(node_bin_atr=0.05)))

    assert gates.node_distance_atr == pytest.approx(4.0 / 2.8, rel=0.1)
    assert narrow.node_distance_atr == pytest.approx(4.0 / 2.8, rel=0.1)


def test_too_few_bars_and_a_market_that_stands_still_have_no_gates() -> None:
    wave = 3_300.0 + np.sin(np.arange(600.0))
    m5, m15 = made(wave)

    assert read_gates(m5[-60:], m15, SETTINGS) is None
    assert read_gates(m5[-61:], m15, SETTINGS) is not None
    assert read_gates(m5, m15[-60:], SETTINGS) is None
    assert read_gates(*made(np.full(600, 3_300.0), half_range=0.0), SETTINGS) is None


def test_a_day_without_any_range_has_its_node_at_the_price() -> None:
    still = bars_of([3_300.0] * 100, timeframe=Timeframe.M5, half_range=0.0)

    assert volume_nodes(still, 0.2, 1.5).tolist() == [3_300.0]


# --- the book --------------------------------------------------------------------------------------------------------


def test_gates_are_read_once_per_bar_and_anew_after_a_correction() -> None:
    m5, m15 = made(3_300.0 + np.sin(np.arange(600.0)))
    book = GatesBook()
    first = book.read(m5, m15, SETTINGS)
    again = book.read(m5[:], m15[:], SETTINGS)
    corrected = replace(m5, close=np.concatenate((m5.close[:-1], m5.close[-1:] + 3.0)))

    assert again is first
    assert book.read(corrected, m15, SETTINGS) == read_gates(corrected, m15, SETTINGS) != first


def test_other_settings_read_anew() -> None:
    m5, m15 = made(3_300.0 + np.tile((0.1, -0.1), 300))
    book, strict = GatesBook(), replace(SETTINGS, exits=ExitSettings(squeeze_atr=0.1))

    assert book.read(m5, m15, SETTINGS) != book.read(m5, m15, strict)


def test_gates_of_bars_that_are_too_old_are_not_known() -> None:
    m5, m15 = made(3_300.0 + np.sin(np.arange(600.0)))
    book, now_ms = BarBook("XAUUSD"), m5.last_close_ms
    book.merge(m5, now_ms)
    book.merge(m15, now_ms)
    stale_ms = now_ms + Timeframe.M5.ms + int(SETTINGS.cadence.stale_s * 1_000) + 1

    assert m15.time_ms[0] == MONDAY_MS
    assert GatesBook().fresh(book, now_ms, SETTINGS) == read_gates(m5, m15, SETTINGS)
    assert book.hours.is_open(stale_ms)
    assert GatesBook().fresh(book, stale_ms, SETTINGS) is None

"""Each layer's rule on figures made by hand, for both sides."""

import numpy as np
import pytest
from tests.market.made import MONDAY_MS, flow_at

from dtms.domain.market import FlowBars, Side
from dtms.market.layers import conviction, momentum, order_flow, structure, trend, vwap_volume
from dtms.market.layers.conviction import Candle
from dtms.market.layers.vwap_volume import VwapFigures, flip_side
from dtms.market.reading import Reading
from dtms.market.regime import Volatility
from dtms.market.structure import BreakKind, LatestBreak
from dtms.settings import ScoreSettings

RULES = ScoreSettings()
NOW_MS = MONDAY_MS + 48 * 3_600_000


def points(reading: Reading | None) -> float:
    assert reading is not None
    assert reading.reason
    return reading.points


# --- structure ---


def latest(age_bars: int, *, kind: BreakKind = BreakKind.BOS, undone: bool = False) -> LatestBreak:
    return LatestBreak(kind=kind, side=Side.LONG, level=100.0, age_bars=age_bars, undone=undone)


@pytest.mark.parametrize(("age_bars", "expected"), [(0, 3.0), (4, 2.25), (8, 1.5), (15, 0.1875), (16, 0.0), (40, 0.0)])
@pytest.mark.parametrize("kind", BreakKind)
def test_a_break_counts_three_points_falling_to_zero_over_sixteen_bars(
    kind: BreakKind, age_bars: int, expected: float
) -> None:
    assert points(structure.read(latest(age_bars, kind=kind), Side.LONG, RULES)) == pytest.approx(expected)
    assert points(structure.read(latest(age_bars, kind=kind), Side.SHORT, RULES)) == pytest.approx(-expected)


def test_an_undone_break_counts_nothing() -> None:
    reading = structure.read(latest(2, undone=True), Side.LONG, RULES)
    assert reading.points == 0.0
    assert "undone" in reading.reason


def test_no_break_yet_is_a_reading_of_zero() -> None:
    assert structure.read(None, Side.LONG, RULES).points == 0.0


# --- VWAP and volume ---


def figures(slope: float, beyond: Side | None, balance: float | None = 0.0) -> VwapFigures:
    return VwapFigures(
        slope_atr=slope, threshold_atr=0.05, beyond=beyond, volume_balance=balance, volume_source="tick volume"
    )


@pytest.mark.parametrize(
    ("slope", "beyond", "flip"),
    [
        (0.06, Side.LONG, Side.LONG),
        (0.05, Side.LONG, None),  # the threshold must be exceeded
        (0.06, Side.SHORT, None),  # price and slope disagree
        (-0.06, Side.SHORT, Side.SHORT),
        (-0.06, None, None),  # the closes do not agree
    ],
)
def test_a_flip_needs_the_closes_beyond_and_the_slope_above_its_threshold(
    slope: float, beyond: Side | None, flip: Side | None
) -> None:
    assert flip_side(figures(slope, beyond)) is flip


@pytest.mark.parametrize(
    ("slope", "beyond", "balance", "for_long", "for_short"),
    [
        (0.06, Side.LONG, 0.0, 1.0, -2.0),
        (0.06, Side.LONG, 0.4, 2.0, -2.0),  # 30 % against the BUY, 70 % against the SELL, which is capped at -2
        (0.06, Side.LONG, -0.4, 0.0, -1.0),
        (0.00, None, -0.4, -1.0, 1.0),
        (0.00, None, 0.28, 0.0, 0.0),  # 64 % are not above 65 %
        (-0.06, Side.SHORT, -0.32, -2.0, 2.0),
    ],
)
def test_flip_and_opposite_volume_add_up(
    slope: float, beyond: Side | None, balance: float, for_long: float, for_short: float
) -> None:
    read = figures(slope, beyond, balance)
    assert points(vwap_volume.read(read, Side.LONG, Volatility.NORMAL, RULES)) == for_long
    assert points(vwap_volume.read(read, Side.SHORT, Volatility.NORMAL, RULES)) == for_short


def test_a_quiet_market_asks_for_more_opposite_volume() -> None:
    read = figures(0.0, None, -0.40)  # 70 % against the BUY
    assert points(vwap_volume.read(read, Side.LONG, Volatility.NORMAL, RULES)) == -1.0
    assert points(vwap_volume.read(read, Side.LONG, Volatility.LOW, RULES)) == 0.0


def test_unknown_volume_leaves_the_flip_alone() -> None:
    assert points(vwap_volume.read(figures(-0.06, Side.SHORT, None), Side.LONG, Volatility.NORMAL, RULES)) == -2.0


# --- momentum ---


def rsi(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (np.array(values) - 50.0) / 50.0


FLAT = np.array([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("series", "volatility", "for_long", "for_short"),
    [
        ((50, 48, 46, 44), Volatility.NORMAL, -1.0, 1.0),
        ((43, 41, 42, 44), Volatility.NORMAL, 0.0, 0.0),  # below 45, but not falling
        ((50, 48, 46, 44), Volatility.LOW, 0.0, 0.0),  # a quiet market asks for 40
        ((44, 43, 41, 39), Volatility.LOW, -1.0, 1.0),
        ((50, 52, 54, 56), Volatility.NORMAL, 1.0, -1.0),
        ((50, 52, 54, 56), Volatility.LOW, 0.0, 0.0),
        ((57, 58, 59, 61), Volatility.LOW, 1.0, -1.0),
        ((60, 59, 58, 57), Volatility.NORMAL, 0.0, 0.0),
    ],
)
def test_rsi_counts_outside_its_band_while_it_goes_on(
    series: tuple[float, ...], volatility: Volatility, for_long: float, for_short: float
) -> None:
    assert points(momentum.read(rsi(*series), FLAT, Side.LONG, volatility, RULES)) == for_long
    assert points(momentum.read(rsi(*series), FLAT, Side.SHORT, volatility, RULES)) == for_short


@pytest.mark.parametrize(
    ("histogram", "for_long"), [((1.0, 2.0, 3.0), 1.0), ((3.0, 2.0, 1.0), -1.0), ((1, 3, 2), 0.0), ((1, 1, 2), 0.0)]
)
def test_the_macd_histogram_counts_when_monotone_over_three_bars(histogram: tuple[float, ...], for_long: float) -> None:
    neutral = rsi(50, 50, 50, 50)
    values = np.array(histogram)
    assert points(momentum.read(neutral, values, Side.LONG, Volatility.NORMAL, RULES)) == for_long
    assert points(momentum.read(neutral, values, Side.SHORT, Volatility.NORMAL, RULES)) == -for_long


def test_momentum_is_absent_while_an_indicator_is_undefined() -> None:
    nan = float("nan")
    assert momentum.read(rsi(nan, 50, 50, 50), FLAT, Side.LONG, Volatility.NORMAL, RULES) is None
    assert momentum.read(rsi(50, 50, 50, 50), np.array([nan, 1, 2]), Side.LONG, Volatility.NORMAL, RULES) is None
    assert momentum.read(rsi(50, 50), FLAT, Side.LONG, Volatility.NORMAL, RULES) is None


# --- trend ---


@pytest.mark.parametrize(
    ("fast", "slow", "for_long"),
    [(0.1, 0.05, 1.5), (0.05, 0.0, 0.375), (0.3, -0.2, 0.0), (-0.2, -0.025, -1.125)],
)
def test_trend_points_are_the_clipped_slopes(fast: float, slow: float, for_long: float) -> None:
    assert points(trend.read(fast, slow, Side.LONG, RULES)) == pytest.approx(for_long)
    assert points(trend.read(fast, slow, Side.SHORT, RULES)) == pytest.approx(-for_long)


def test_trend_is_absent_without_its_slow_average() -> None:
    assert trend.read(0.1, None, Side.LONG, RULES) is None


# --- order flow ---


def test_flow_above_half_a_sigma_counts_one_point_by_its_direction() -> None:
    signed = [10.0, -10.0] * 132 + [10.0] * 24  # the last two hours lean up
    strength = order_flow.strength(flow_at(NOW_MS, signed), NOW_MS, RULES)
    assert strength is not None
    day = np.array(signed[-288:])
    assert strength == pytest.approx(240.0 / (np.sqrt(24.0) * day.std()))
    assert points(order_flow.read(strength, Side.LONG, RULES)) == 1.0
    assert points(order_flow.read(strength, Side.SHORT, RULES)) == -1.0


def test_balanced_flow_counts_nothing() -> None:
    strength = order_flow.strength(flow_at(NOW_MS, [10.0, -10.0] * 144), NOW_MS, RULES)
    assert points(order_flow.read(strength, Side.LONG, RULES)) == 0.0


@pytest.mark.parametrize(
    "flow",
    [
        None,
        flow_at(NOW_MS, []),
        flow_at(NOW_MS, [1.0, -1.0] * 11),  # less than two hours
        flow_at(NOW_MS, [5.0] * 288),  # no variation
        flow_at(NOW_MS - 3 * 3_600_000, [1.0, -1.0] * 100),  # nothing recent
    ],
)
def test_flow_is_absent_without_enough_of_it(flow: FlowBars | None) -> None:
    assert order_flow.strength(flow, NOW_MS, RULES) is None
    assert order_flow.read(None, Side.LONG, RULES) is None


def test_flow_from_after_the_moment_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    signed = rng.normal(size=400).tolist()
    whole = flow_at(NOW_MS + 100 * 300_000, signed)
    known = flow_at(NOW_MS, signed[:-100])
    assert order_flow.strength(whole, NOW_MS, RULES) == order_flow.strength(known, NOW_MS, RULES)


# --- candle conviction ---

STRONG_UP = Candle(open=100.0, high=101.0, low=99.9, close=100.9, vwap=90.0, atr=1.0)
CROSSING_UP = Candle(open=100.0, high=101.0, low=99.9, close=100.9, vwap=100.5, atr=1.0)
STRONG_DOWN = Candle(open=100.9, high=101.0, low=99.9, close=100.0, vwap=90.0, atr=1.0)
WEAK = Candle(open=100.0, high=101.0, low=99.9, close=100.3, vwap=100.2, atr=1.0)
NARROW = Candle(open=100.0, high=100.7, low=100.0, close=100.7, vwap=100.2, atr=1.0)


@pytest.mark.parametrize(
    ("newest_first", "for_long"),
    [
        ((STRONG_UP, WEAK, WEAK), 1.0),
        ((CROSSING_UP, WEAK, WEAK), 2.0),
        ((STRONG_DOWN, WEAK, WEAK), -1.0),
        ((WEAK, WEAK, WEAK), 0.0),
        ((NARROW, WEAK, WEAK), 0.0),
        ((WEAK, STRONG_UP, WEAK), 2 / 3),
        ((WEAK, WEAK, CROSSING_UP), 2 / 3),
        ((STRONG_DOWN, CROSSING_UP, WEAK), 4 / 3),  # the crossing bar is the stronger one even at two thirds
        ((WEAK, STRONG_DOWN, CROSSING_UP), -2 / 3),  # equally strong: the newer counts
    ],
)
def test_the_strongest_of_three_bars_counts_weighted_by_age(newest_first: tuple[Candle, ...], for_long: float) -> None:
    assert points(conviction.read(newest_first, Side.LONG, RULES)) == pytest.approx(for_long)
    assert points(conviction.read(newest_first, Side.SHORT, RULES)) == pytest.approx(-for_long)


def test_conviction_is_absent_without_an_atr() -> None:
    dead = Candle(open=1.0, high=1.0, low=1.0, close=1.0, vwap=1.0, atr=0.0)
    assert conviction.read((dead, dead, dead), Side.LONG, RULES) is None
    assert conviction.read((STRONG_UP,), Side.LONG, RULES) is None

"""Patterns of closed bars: each by a market made by hand, and on recorded markets without look-ahead, and mirrored."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from tests.market.made import bars_of
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, XAUUSD_2025, m15_of, mirrored, recorded
from tests.market.shapes import DIP, HIGH_THEN_LOW, LEAP, Row, after_calm, candles, peaks

from dtms.domain.market import Bars, Side
from dtms.market.bands import Averages
from dtms.market.liquidity import Pool
from dtms.market.patterns import PATTERN_BARS, PatternBook, Patterns
from dtms.market.structure import BreakKind
from dtms.settings import Settings

SETTINGS = Settings()
FILES = (EURUSD_2019, XAUUSD_2025, BTCUSD_2025)


def of(bars: Bars) -> Patterns:
    return Patterns(bars, SETTINGS)


# --- one bar -------------------------------------------------------------------------------------------------------


def test_a_long_lower_tail_speaks_for_a_long_by_its_length_over_the_body() -> None:
    hammer = of(candles((100.0, 100.6, 97.0, 100.5)))
    assert hammer.wick_ratio(Side.LONG) == pytest.approx(3.0 / 0.5)
    assert hammer.wick_ratio(Side.SHORT) == 0.0


def test_a_bar_without_a_body_has_a_finite_ratio_and_one_that_stood_still_has_none() -> None:
    assert of(candles((100.0, 100.0, 98.0, 100.0))).wick_ratio(Side.LONG) == pytest.approx(20.0)
    assert of(candles((100.0, 100.0, 100.0, 100.0))).wick_ratio(Side.LONG) is None


@pytest.mark.parametrize(
    ("last", "inside"),
    [
        ((100, 100.9, 99.1, 100), True),
        ((100, 101, 99.1, 100), True),
        ((100, 101, 99, 100), False),
        ((100, 101.1, 99.5, 100), False),
        ((100, 100.5, 98.9, 100), False),
    ],
)
def test_an_inside_bar_passes_neither_end_of_the_bar_before_and_is_smaller(last: Row, inside: bool) -> None:
    assert of(candles((100.0, 101.0, 99.0, 100.0), last)).is_inside is inside


def test_volume_is_measured_against_the_twenty_bars_before() -> None:
    flat: Row = (100.0, 101.0, 99.0, 100.0)
    assert of(candles(*[flat] * 21, volume=[100.0] * 20 + [250.0])).volume_ratio == pytest.approx(2.5)
    assert of(candles(*[flat] * 21, volume=[0.0] * 21)).volume_ratio is None
    assert of(candles(*[flat] * 20)).volume_ratio is None


# --- zones ---------------------------------------------------------------------------------------------------------


def test_a_gap_lies_between_a_high_and_the_low_two_bars_later() -> None:
    (gap,) = of(after_calm(*LEAP)).gaps(Side.LONG)
    assert (gap.low, gap.high, gap.filled_pct, gap.age_bars) == (100.5, 102.5, 0.0, 0)
    assert of(after_calm(*LEAP)).gaps(Side.SHORT) == ()


def test_a_gap_is_filled_as_far_as_a_later_bar_reached_into_it() -> None:
    (gap,) = of(after_calm(*LEAP, (104, 104, 101.0, 103), (103, 104, 102, 103))).gaps(Side.LONG)
    assert gap.filled_pct == pytest.approx(75.0)


def test_a_filled_gap_is_gone() -> None:
    assert of(after_calm(*LEAP, (104, 104, 100.5, 103))).gaps(Side.LONG) == ()


def test_a_gap_of_less_than_a_tenth_of_atr_is_none() -> None:
    assert (
        of(after_calm((100, 100.5, 99.5, 100), (100, 101, 100, 101), (101, 102, 100.55, 101.5))).gaps(Side.LONG) == ()
    )


def test_an_order_block_is_the_last_falling_bar_before_the_move_that_broke_structure() -> None:
    (block,) = of(after_calm(*HIGH_THEN_LOW)).blocks(Side.LONG)
    assert (block.low, block.high, block.age_bars) == (98.4, 100.2, 0)


def test_an_order_block_is_gone_once_a_bar_closed_beyond_it() -> None:
    assert of(after_calm(*HIGH_THEN_LOW, (104, 104, 98.3, 98.5))).blocks(Side.LONG)
    assert of(after_calm(*HIGH_THEN_LOW, (104, 104, 98.2, 98.3))).blocks(Side.LONG) == ()


# --- liquidity -----------------------------------------------------------------------------------------------------


def test_a_sweep_goes_below_a_swing_low_and_closes_above_it() -> None:
    sweep = of(after_calm(*DIP, (100, 100.1, 96.5, 97.5))).sweeps(Side.LONG)[0]
    assert (sweep.level, sweep.extreme, sweep.age_bars, sweep.undone) == (97.0, 96.5, 0, False)


def test_a_close_below_the_swing_is_a_break_and_no_sweep_even_if_a_later_bar_comes_back() -> None:
    assert of(after_calm(*DIP, (100, 100.1, 96.5, 96.9))).sweeps(Side.LONG) == ()
    assert of(after_calm(*DIP, (100, 100.1, 96.5, 96.9), (97, 98, 96.4, 97.9))).sweeps(Side.LONG) == ()


def test_a_later_close_below_the_level_undoes_a_sweep() -> None:
    assert of(after_calm(*DIP, (100, 100.1, 96.5, 97.5), (97.5, 97.6, 96, 96.5))).sweeps(Side.LONG)[0].undone


def test_equal_highs_are_swing_highs_at_about_one_price() -> None:
    patterns = of(peaks(103.0, 103.05, 102.0))
    assert patterns.pool(Side.LONG, 0.1) == Pool(103.05, 2)
    assert patterns.pool(Side.LONG, 2.0) == Pool(103.05, 3)
    assert patterns.pool(Side.SHORT, 0.1) is None


def test_highs_that_a_later_bar_passed_are_no_pool() -> None:
    assert of(peaks(103.0, 103.05, 104.0)).pool(Side.LONG, 0.1) == Pool(104.0, 1)


# --- averages and bands --------------------------------------------------------------------------------------------


def test_a_steady_rise_aligns_the_averages_for_a_long() -> None:
    read = of(bars_of(np.linspace(100, 150, 300).tolist())).averages
    assert read is not None
    assert read.aligned() is Side.LONG
    assert Averages(1.0, 3.0, 2.0).aligned() is None
    assert of(bars_of([100.0] * 199)).averages is None


def test_bands_are_narrow_in_a_calm_and_widen_with_a_shock() -> None:
    rng = np.random.default_rng(3)
    wild = (100 + rng.normal(0, 1.0, 200)).tolist()
    calm = of(bars_of([*wild, *(100 + rng.normal(0, 0.1, 30))])).width
    shock = of(bars_of([*wild, 110.0])).width
    assert calm is not None
    assert shock is not None
    assert calm.ratio < 0.3
    assert shock.ratio > 1.3
    assert shock.is_widening


def test_vwap_distance_is_in_deviations_weighed_by_volume() -> None:
    """Written out: prices 99 and 101 with weights 3 and 1, the newest at 101."""
    bars = bars_of([99.0, 99.0, 99.0, 99.0, 99.0, 99.0, 101.0, 101.0], half_range=0.0)
    flat = replace(bars, high=bars.close, low=bars.close)
    read = of(flat).vwap
    assert read is not None
    assert read.vwap == pytest.approx(99.5)
    assert read.sigmas == pytest.approx(1.5 / np.sqrt(0.75))
    assert of(bars_of([100.0] * 8, half_range=0.0)).vwap is None


def test_breaks_are_listed_newest_first_with_their_age_and_what_became_of_them() -> None:
    patterns = of(after_calm(*HIGH_THEN_LOW, (104.8, 105, 102.6, 102.9)))
    newest = patterns.breaks[0]
    assert (newest.kind, newest.side, newest.level, newest.age_bars) == (BreakKind.BOS, Side.LONG, 103.0, 1)
    assert newest.undone


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 25])
def test_too_few_bars_show_nothing_and_raise_nothing(count: int) -> None:
    everything = reading(of(bars_of([100.0] * 30)[:count]))
    assert everything["averages"] is None
    assert everything["width"] is None
    assert everything["blocks"] == {"LONG": [], "SHORT": []}


# --- recorded markets ----------------------------------------------------------------------------------------------


def reading(patterns: Patterns) -> dict[str, Any]:
    """Read everything there is."""

    def both(read: Callable[[Side], Any]) -> dict[str, Any]:
        return {side.name: read(side) for side in Side}

    def rows(found: Sequence[Any]) -> list[dict[str, Any]]:
        return [asdict(row) for row in found]

    return {
        "atr": patterns.atr,
        "atr_ratio": patterns.atr_ratio,
        "rsi": patterns.rsi(14),
        "averages": patterns.averages,
        "width": patterns.width,
        "vwap": patterns.vwap,
        "volume": patterns.volume_ratio,
        "inside": patterns.is_inside,
        "wick": both(patterns.wick_ratio),
        "breaks": rows(patterns.breaks),
        "gaps": both(lambda side: rows(patterns.gaps(side))),
        "blocks": both(lambda side: rows(patterns.blocks(side))),
        "sweeps": both(lambda side: rows(patterns.sweeps(side))),
        "pool": both(lambda side: patterns.pool(side, 0.2)),
    }


def places(bars: Bars, count: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(n) for n in rng.integers(PATTERN_BARS, len(bars), count)]


@pytest.mark.parametrize("name", FILES)
def test_more_history_changes_no_reading_and_later_bars_cannot(name: str) -> None:
    """What one sees of the newest window is the same with all history before it, and with another future cut off."""
    bars = m15_of(name)
    for known in places(bars, 12, seed=1):
        scrambled = replace(bars, close=np.where(np.arange(len(bars)) >= known, 7.0, bars.close))
        assert reading(of(bars[known - PATTERN_BARS : known])) == reading(of(scrambled[:known]))


@pytest.mark.parametrize("name", FILES)
def test_a_pattern_that_was_seen_is_seen_again_when_one_more_bar_closed(name: str) -> None:
    """Nothing appears in the past: what is seen later of an earlier bar was seen then, but for what ended since."""
    bars = m15_of(name)
    for known in places(bars[:-1], 12, seed=2):
        window = bars[known + 1 - PATTERN_BARS : known + 1]
        before, after = of(window[:-1]), of(window)
        for side in Side:
            for read in (Patterns.gaps, Patterns.blocks):
                formed = {zone.formed_ms for zone in read(before, side)}
                later = {zone.formed_ms for zone in read(after, side) if zone.age_bars > 0}
                assert later <= formed
            swept = {(s.level, s.age_bars + 1) for s in before.sweeps(side)}
            assert {(s.level, s.age_bars) for s in after.sweeps(side) if s.age_bars > 0} == swept
        broken = [(b.kind, b.side, b.level, b.age_bars + 1) for b in before.breaks]
        assert [(b.kind, b.side, b.level, b.age_bars) for b in after.breaks if b.age_bars > 0] == broken


def _negated_zones(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**row, "side": row["side"].opposite, "low": -row["high"], "high": -row["low"]}
        if "low" in row
        else {**row, "side": row["side"].opposite, "level": -row["level"], "extreme": -row["extreme"]}
        for row in rows
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_mirrored_market_shows_the_mirrored_patterns(name: str) -> None:
    bars = m15_of(name)
    for known in places(bars, 6, seed=3):
        here, there = reading(of(bars[:known])), reading(of(mirrored(bars[:known])))
        for kind in ("gaps", "blocks", "sweeps"):
            assert _negated_zones(here[kind]["LONG"]) == there[kind]["SHORT"]
            assert _negated_zones(here[kind]["SHORT"]) == there[kind]["LONG"]
        assert here["wick"]["LONG"] == there["wick"]["SHORT"]
        for side in Side:
            pool, turned = here["pool"][side.name], there["pool"][side.opposite.name]
            assert pool == (turned and Pool(-turned.level, turned.count))
        assert here["rsi"] == pytest.approx(100.0 - there["rsi"])
        assert here["vwap"].sigmas == pytest.approx(-there["vwap"].sigmas)
        for same in ("atr", "atr_ratio", "width", "volume", "inside"):
            assert here[same] == there[same]


def test_order_blocks_of_a_recorded_market_lie_below_the_close_for_a_long() -> None:
    """They stand, so no bar closed beyond them; and they are as high as one bar."""
    bars = recorded(XAUUSD_2025)
    found = 0
    for known in places(bars, 25, seed=4):
        patterns = of(bars[:known])
        for block in patterns.blocks(Side.LONG):
            found += 1
            assert block.low <= patterns.bars.close[-1]
            assert block.low < block.high
    assert found > 20


def test_a_book_reads_a_bar_once_and_anew_when_it_was_corrected() -> None:
    bars, book = bars_of([100.0 + n % 7 for n in range(60)]), PatternBook()
    first = book.of(bars, SETTINGS)
    assert book.of(bars, SETTINGS) is first
    corrected = replace(bars, close=np.where(np.arange(60) == 40, 101.5, bars.close))
    assert book.of(corrected, SETTINGS) is not first
    assert book.of(corrected, Settings()) is not book.of(corrected, SETTINGS)

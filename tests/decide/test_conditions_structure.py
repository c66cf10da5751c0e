"""Conditions on patterns, on markets made to show one each: where they begin to hold, and where they cease."""

from typing import Any

import pytest
from tests.decide.builders import instrument
from tests.market.made import bars_of
from tests.market.shapes import DIP, HIGH_THEN_LOW, LEAP, Row, after_calm, candles, peaks

from dtms.decide.conditions import MarketFacts, Truth, Verdict, evaluate, parse
from dtms.domain.market import Bars, Side, Tick
from dtms.market.patterns import Patterns
from dtms.market.structure import BreakKind
from dtms.settings import Settings

SETTINGS = Settings()


def on(bars: Bars, price: float | None = None) -> MarketFacts:
    """See M15 bars a moment after the newest closed, at its close or another price."""
    at_ms, quoted = bars.last_close_ms, float(bars.close[-1]) if price is None else price
    return MarketFacts(
        symbol="XAUUSD",
        instrument=instrument(symbol="XAUUSD"),
        now_ms=at_ms,
        settings=SETTINGS,
        tick=Tick(at_ms, quoted, quoted),
        bars={bars.timeframe: Patterns(bars, SETTINGS)},
    )


def stands(facts: MarketFacts, name: str, side: Side = Side.LONG, **given: Any) -> Verdict:
    (one,) = evaluate(parse([{"name": name, "timeframe": "M15", **given}], side), facts).leaves()
    assert one.state is not Truth.UNKNOWN
    return one


BLOCK = after_calm(*HIGH_THEN_LOW)
"""An order block from 98.4 to 100.2, below the close of 104.8."""


@pytest.mark.parametrize(("price", "holds"), [(100.2, True), (98.4, True), (100.3, False), (98.3, False)])
def test_the_price_is_at_an_order_block_within_its_ends(price: float, holds: bool) -> None:
    assert stands(on(BLOCK, price), "order_block", tolerance_atr=0).is_met is holds


def test_the_tolerance_of_an_order_block_is_a_share_of_atr() -> None:
    atr = Patterns(BLOCK, SETTINGS).atr
    assert atr is not None
    near = on(BLOCK, 100.2 + 0.4 * atr)
    assert stands(near, "order_block", tolerance_atr=0.5).is_met
    told = stands(near, "order_block", tolerance_atr=0.3)
    assert not told.is_met
    assert "nearest block 98.4 to 100.2" in told.present


def test_an_order_block_is_of_its_own_side_and_young_enough() -> None:
    assert not stands(on(BLOCK, 100), "order_block", Side.SHORT).is_met
    older = after_calm(*HIGH_THEN_LOW, (104.8, 105, 104, 104.5))
    assert stands(on(older, 100), "order_block", age_bars_max=1).is_met
    assert not stands(on(older, 100), "order_block", age_bars_max=0).is_met


GAP = after_calm(*LEAP, (104, 104, 101.0, 103))
"""A gap from 100.5 to 102.5 that is 75 % filled, one bar old."""


@pytest.mark.parametrize(
    ("low", "high", "holds"), [(0, 100, True), (75, 75, True), (76, 100, False), (0, 74, False), (50, 90, True)]
)
def test_a_gap_holds_while_it_is_filled_by_so_much(low: float, high: float, holds: bool) -> None:
    told = stands(on(GAP), "fvg_bull", filled_pct_min=low, filled_pct_max=high)
    assert told.is_met is holds
    assert told.present == "100.5 to 102.5, 75 % filled, 1 bars old"


def test_a_gap_is_of_its_own_side_and_young_enough() -> None:
    assert not stands(on(GAP), "fvg_bear").is_met
    assert stands(on(GAP), "fvg_bull", age_bars_max=1).is_met
    assert not stands(on(GAP), "fvg_bull", age_bars_max=0).is_met


SWEEP: Row = (100, 100.1, 96.5, 97.5)
CALM: Row = (97.5, 98.0, 97.2, 97.8)


def test_a_sweep_holds_for_some_bars_and_until_it_is_undone() -> None:
    assert stands(on(after_calm(*DIP, SWEEP, CALM)), "liquidity_sweep", age_bars_max=1).is_met
    assert not stands(on(after_calm(*DIP, SWEEP, CALM)), "liquidity_sweep", age_bars_max=0).is_met
    assert not stands(on(after_calm(*DIP, SWEEP, CALM)), "liquidity_sweep", Side.SHORT).is_met
    told = stands(on(after_calm(*DIP, SWEEP, (97.5, 97.6, 96, 96.9))), "liquidity_sweep")
    assert not told.is_met
    assert told.present == "97 swept to 96.5, 1 bars ago, undone since"


def test_equal_swings_are_counted() -> None:
    three = on(peaks(103.0, 103.05, 103.02))
    assert stands(three, "equal_highs", count_min=3).is_met
    assert not stands(three, "equal_highs", count_min=4).is_met
    assert not stands(three, "equal_lows").is_met


def test_a_rejection_is_as_long_as_asked_for_and_on_the_side_asked_for() -> None:
    hammer = on(after_calm((100.0, 100.6, 97.0, 100.5)))
    assert stands(hammer, "rejection_wick", ratio_min=6).is_met
    assert not stands(hammer, "rejection_wick", ratio_min=6.1).is_met
    assert not stands(hammer, "rejection_wick", Side.SHORT, ratio_min=0.5).is_met


def test_an_inside_bar_is_the_newest_one() -> None:
    assert stands(on(after_calm((100, 100.4, 99.6, 100))), "inside_bar").is_met
    assert not stands(on(after_calm((100, 100.4, 99.6, 100), (100, 100.6, 99.5, 100))), "inside_bar").is_met


def test_volume_is_as_large_as_asked_for() -> None:
    flat: Row = (100.0, 101.0, 99.0, 100.0)
    loud = on(candles(*[flat] * 25, volume=[100.0] * 24 + [250.0]))
    assert stands(loud, "volume_ratio", ratio_min=2.5).is_met
    assert not stands(loud, "volume_ratio", ratio_min=2.6).is_met


def test_bands_are_squeezed_or_expanding_by_their_ratio() -> None:
    wide = [100.0 + 3.0 * (n % 2) for n in range(140)]
    calm, burst = on(bars_of([*wide, *[101.5 + 0.1 * (n % 2) for n in range(20)]])), on(bars_of([*wide, 120.0]))
    assert stands(calm, "bb_squeeze").is_met
    assert not stands(calm, "bb_expansion").is_met
    assert stands(burst, "bb_expansion").is_met
    assert not stands(burst, "bb_squeeze").is_met
    assert not stands(on(bars_of([*wide, *[120.0] * 21])), "bb_expansion", ratio_min=0.2).is_met


def test_a_break_counts_for_the_kind_and_side_that_its_name_says() -> None:
    facts = on(BLOCK)
    newest = facts.bars[BLOCK.timeframe].breaks[0]
    assert (newest.kind, newest.side) == (BreakKind.BOS, Side.LONG)
    states = {name: stands(facts, name).is_met for name in ("bos_bull", "bos_bear", "choch_bull", "choch_bear")}
    assert states == {"bos_bull": True, "bos_bear": False, "choch_bull": False, "choch_bear": False}

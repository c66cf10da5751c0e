"""Levels: read from closed bars alone, the same whatever came before the window or comes after it."""

from dataclasses import replace

import numpy as np
import pytest
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, XAUUSD_2025, m15_of, mirrored, recorded

from dtms.domain.market import Bars, Side, Timeframe
from dtms.market import indicators
from dtms.market.levels import SWINGS_KEPT, WINDOW, LevelsBook, bars_needed, read_levels
from dtms.settings import RegimeSettings, Settings, UniversalSettings

SETTINGS = Settings()
COLUMNS = ("time_ms", "open", "high", "low", "close", "volume", "spread")
FILES = (EURUSD_2019, XAUUSD_2025, BTCUSD_2025)


def made(closes: list[float], *, width: float = 1.0) -> Bars:
    """Make M5 bars that open where the one before closed, ``width`` beyond open and close on both sides."""
    close = np.array(closes)
    opened = np.concatenate((close[:1], close[:-1]))
    return Bars(
        symbol="MADE",
        timeframe=Timeframe.M5,
        time_ms=np.arange(len(close), dtype=np.int64) * Timeframe.M5.ms,
        open=opened,
        high=np.maximum(opened, close) + width,
        low=np.minimum(opened, close) - width,
        close=close,
        volume=np.ones(len(close)),
        spread=np.zeros(len(close)),
    )


def flat(count: int = 120) -> list[float]:
    return [100.0 + (i % 2) * 0.1 for i in range(count)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", [600, 5_000, 9_999])
def test_atr_and_its_baseline_are_those_of_the_indicator_on_the_same_timeframe(name: str, end: int) -> None:
    window = recorded(name)[end - WINDOW : end]
    levels = read_levels(recorded(name)[:end], SETTINGS)
    atr = indicators.atr(window.high, window.low, window.close, 14)
    assert levels is not None
    assert levels.atr == atr[-1]
    assert levels.atr_baseline == pytest.approx(atr[-96:].mean())
    assert (levels.close, levels.close_ms) == (window.close[-1], window.last_close_ms)


@pytest.mark.parametrize("name", FILES)
def test_a_swing_is_an_extreme_with_three_lower_or_higher_ones_on_each_side_that_had_closed(name: str) -> None:
    bars = recorded(name)[:3_000]
    levels = read_levels(bars, SETTINGS)
    assert levels is not None
    assert 0 < len(levels.swing_lows) <= SWINGS_KEPT
    for swings, extremes, sign in ((levels.swing_lows, bars.low, -1), (levels.swing_highs, bars.high, 1)):
        assert [s.confirmed_ms for s in swings] == sorted(s.confirmed_ms for s in swings)
        for swing in swings:
            row = int(np.searchsorted(bars.time_ms, swing.confirmed_ms - bars.timeframe.ms)) - 3
            around = np.concatenate((extremes[row - 3 : row], extremes[row + 1 : row + 4]))
            assert extremes[row] == swing.price
            assert ((extremes[row] - around) * sign > 0.0).all()
            assert swing.confirmed_ms <= levels.close_ms


@pytest.mark.parametrize("name", FILES)
def test_bars_to_come_and_bars_before_the_window_change_nothing(name: str) -> None:
    bars = recorded(name)
    for end in range(700, 4_000, 271):
        cut = Bars(
            symbol=bars.symbol,
            timeframe=bars.timeframe,
            **{
                c: getattr(bars, c)[:end].copy()
                for c in ("time_ms", "open", "high", "low", "close", "volume", "spread")
            },
        )
        assert read_levels(bars[:end], SETTINGS) == read_levels(cut, SETTINGS) == read_levels(cut[-WINDOW:], SETTINGS)


@pytest.mark.parametrize("name", FILES)
def test_a_mirrored_market_mirrors(name: str) -> None:
    for end in range(700, 4_000, 313):
        bars = recorded(name)[:end]
        levels, turned = read_levels(bars, SETTINGS), read_levels(mirrored(bars), SETTINGS)
        assert levels is not None
        assert turned is not None
        assert (turned.atr, turned.atr_baseline) == (levels.atr, levels.atr_baseline)
        assert [-s.price for s in turned.swing_highs] == [s.price for s in levels.swing_lows]
        assert [-s.price for s in turned.swing_lows] == [s.price for s in levels.swing_highs]
        assert (turned.impulse is None) == (levels.impulse is None)
        if turned.impulse is not None and levels.impulse is not None:
            assert turned.impulse.side is levels.impulse.side.opposite
            assert turned.impulse.origin == -levels.impulse.origin


def test_an_impulse_is_a_move_over_fifteen_bars_of_one_and_a_half_times_their_width() -> None:
    """Quiet bars are 2.1 wide; what is moved widens the mean of the fifteen."""
    for side in Side:
        bars = made([*flat(), *(100.1 + side.sign * 0.4 * i for i in range(1, 16))])
        levels = read_levels(bars, SETTINGS)
        assert levels is not None
        assert levels.impulse is not None
        assert levels.impulse.side is side
        first = len(bars) - 15
        origin = bars.low[first] if side is Side.LONG else bars.high[first]
        assert (levels.impulse.origin, levels.impulse.begun_ms) == (origin, int(bars.time_ms[first]))


def test_a_slower_move_and_an_older_one_are_none() -> None:
    slow = made([*flat(), *(100.1 + 0.2 * i for i in range(1, 16))])
    over = made([*flat(), *(100.1 + 0.4 * i for i in range(1, 16)), *[106.1] * 15])
    for bars in (slow, over):
        levels = read_levels(bars, SETTINGS)
        assert levels is not None
        assert levels.impulse is None


def test_impulses_and_swings_happen_on_recorded_markets_and_not_always() -> None:
    for name in FILES:
        read = [read_levels(recorded(name)[:end], SETTINGS) for end in range(700, 9_000, 97)]
        impulses = [levels is not None and levels.impulse is not None for levels in read]
        assert 0.05 < sum(impulses) / len(impulses) < 0.95


def test_too_few_bars_and_a_market_that_never_moved_have_no_levels() -> None:
    needed = bars_needed(SETTINGS)
    bars = recorded(EURUSD_2019)
    assert read_levels(bars[: needed - 1], SETTINGS) is None
    assert read_levels(bars[:needed], SETTINGS) is not None
    assert read_levels(made([100.0] * 200, width=0.0), SETTINGS) is None


def test_the_figures_are_those_of_the_settings() -> None:
    settings = Settings(regime=RegimeSettings(atr_period=7), universal=UniversalSettings(baseline_bars=20))
    bars = recorded(XAUUSD_2025)[:700]
    levels = read_levels(bars, settings)
    window = bars[-WINDOW:]
    atr = indicators.atr(window.high, window.low, window.close, 7)
    assert levels is not None
    assert levels.atr == atr[-1]
    assert levels.atr_baseline == pytest.approx(atr[-20:].mean())


def test_they_are_read_once_per_closed_bar_timeframe_and_settings() -> None:
    book, m5, m15 = LevelsBook(), recorded(EURUSD_2019), m15_of(EURUSD_2019)
    first = book.read(m5[:700], SETTINGS)
    assert first is not None
    assert book.read(m5[:700], SETTINGS) is first
    assert book.read(m15[:700], SETTINGS) is not first
    assert book.read(m5[:700], SETTINGS) is first, "each timeframe has its own"
    later = book.read(m5[:701], SETTINGS)
    assert later is not None
    assert later.close_ms == first.close_ms + Timeframe.M5.ms
    again = book.read(m5[:701], replace(SETTINGS))
    assert again == later
    assert again is not later


def test_a_late_correction_is_read_anew() -> None:
    book, bars = LevelsBook(), recorded(EURUSD_2019)[:700]
    before = book.read(bars, SETTINGS)
    low = bars.low.copy()
    low[-1] -= 0.0100
    after = book.read(replace(bars, low=low), SETTINGS)
    assert before is not None
    assert after is not None
    assert after.atr > before.atr

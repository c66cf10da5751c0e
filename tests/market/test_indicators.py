"""Indicators give what TA-Lib gives, on recorded markets and on whole and short series."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, XAUUSD_2025, recorded

from dtms.domain.market import Bars, Floats
from dtms.market import indicators

FILES = (EURUSD_2019, XAUUSD_2025, BTCUSD_2025)
Indicator = Callable[[Bars], Floats]

PAIRS: dict[str, tuple[Indicator, Indicator]] = {
    "atr": (
        lambda b: indicators.atr(b.high, b.low, b.close, 14),
        lambda b: talib.ATR(b.high, b.low, b.close, 14),
    ),
    "rsi": (lambda b: indicators.rsi(b.close, 14), lambda b: talib.RSI(b.close, 14)),
    "ema50": (lambda b: indicators.ema(b.close, 50), lambda b: talib.EMA(b.close, 50)),
    "ema200": (lambda b: indicators.ema(b.close, 200), lambda b: talib.EMA(b.close, 200)),
    "macd line": (lambda b: indicators.macd(b.close, 12, 26, 9)[0], lambda b: talib.MACD(b.close, 12, 26, 9)[0]),
    "macd signal": (lambda b: indicators.macd(b.close, 12, 26, 9)[1], lambda b: talib.MACD(b.close, 12, 26, 9)[1]),
    "macd histogram": (lambda b: indicators.macd(b.close, 12, 26, 9)[2], lambda b: talib.MACD(b.close, 12, 26, 9)[2]),
    "bollinger": (
        lambda b: indicators.bollinger_width(b.close, 20, 2.0),
        lambda b: np.subtract(*talib.BBANDS(b.close * 1.0, 20, 2.0, 2.0)[::2]),
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("indicator", PAIRS)
def test_every_value_of_a_recorded_market_is_the_one_of_talib(name: str, indicator: str) -> None:
    bars = recorded(name)[:20_000]
    ours, theirs = (of(bars) for of in PAIRS[indicator])
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), "defined from the same row on"
    # MACD and bands are small differences of prices: TA-Lib's own digits there end at the price's last bits.
    small = indicator.startswith(("macd", "bollinger"))
    tolerance = 2e-8 if indicator == "bollinger" else 1e-12 if small else 0.0
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=tolerance * float(bars.close.max()))


@pytest.mark.parametrize("count", [0, 1, 13, 14, 15, 20, 33, 34, 50])
def test_short_series_are_undefined_where_talib_says_so(count: int) -> None:
    rng = np.random.default_rng(count)
    close = 100.0 + np.cumsum(rng.normal(size=count))
    high, low = close + 1.0, close - 1.0
    ours = (
        indicators.atr(high, low, close, 14),
        indicators.rsi(close, 14),
        indicators.ema(close, 20),
        *indicators.macd(close, 12, 26, 9),
        indicators.bollinger_width(close, 20, 2.0),
    )
    assert all(len(values) == count for values in ours)
    first = [int(np.isnan(values).sum()) for values in ours]
    assert first == [min(count, defined) for defined in (14, 14, 19, 33, 33, 33, 19)]


def test_a_market_that_never_moved_has_a_neutral_rsi_and_exact_zeros() -> None:
    close = np.full(300, 1.10197)
    assert set(indicators.rsi(close, 14)[14:]) == {50.0}
    assert set(indicators.macd(close, 12, 26, 9)[2][33:]) == {0.0}
    assert set(indicators.ema(close, 50)[49:]) == {1.10197}


def test_the_vwap_weighs_by_volume_the_bars_opened_within_its_span() -> None:
    minutes = np.array([0, 5, 10, 30, 35]) * 60_000
    values = indicators.vwap(
        minutes,
        np.array([10.0, 20.0, 30.0, 40.0, 50.0]),
        np.array([1.0, 3.0, 1.0, 0.0, 2.0]),
        bar_ms=300_000,
        span_ms=900_000,
    )
    # The bar at 30 stands alone in the 15 minutes before its close, without volume: it weighs itself.
    np.testing.assert_allclose(values, [10.0, 17.5, 20.0, 40.0, 50.0])


def test_a_market_without_volume_has_a_vwap_of_equal_weights() -> None:
    time_ms = np.arange(4) * 300_000
    values = indicators.vwap(time_ms, np.array([1.0, 2.0, 6.0, 7.0]), np.zeros(4), bar_ms=300_000, span_ms=600_000)
    np.testing.assert_allclose(values, [1.0, 1.5, 4.0, 6.5])


def test_the_rolling_vwap_of_a_recorded_market_is_the_sum_written_out() -> None:
    bars = recorded(XAUUSD_2025)[3_000:3_600]
    typical = (bars.high + bars.low + bars.close) / 3.0
    span_ms = 8 * 3_600_000
    values = indicators.vwap(bars.time_ms, typical, bars.volume, bar_ms=300_000, span_ms=span_ms)
    for row in range(0, len(bars), 7):
        within = (bars.time_ms >= bars.time_ms[row] + 300_000 - span_ms) & (np.arange(len(bars)) <= row)
        assert values[row] == pytest.approx(np.average(typical[within], weights=bars.volume[within]), rel=1e-12)

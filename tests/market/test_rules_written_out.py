"""The view of recorded moments agrees with the rules written out plainly, bar by bar, on TA-Lib's indicators."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import talib
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, XAUUSD_2025, closed_before, m15_of, recorded

from dtms.domain.market import Bars, Floats, Side
from dtms.market.reading import Layer
from dtms.market.regime import Structure, Volatility
from dtms.market.view import M5_WINDOW, M15_WINDOW, MarketView, evaluate
from dtms.settings import Settings

SETTINGS = Settings()
MINUTE_MS = 60_000


def atr_of(bars: Bars) -> Floats:
    return np.asarray(talib.ATR(bars.high, bars.low, bars.close, 14), dtype=np.float64)


def vwap_at(bars: Bars, row: int) -> float:
    """Average the typical prices of the bars that opened in the eight hours before the bar's close."""
    first_ms = bars.time_ms[row] + 5 * MINUTE_MS - 8 * 60 * MINUTE_MS
    within = [i for i in range(row + 1) if bars.time_ms[i] >= first_ms]
    typical = [(bars.high[i] + bars.low[i] + bars.close[i]) / 3 for i in within]
    return float(np.average(typical, weights=bars.volume[within]))


def flip_of(m5: Bars, vwap: Sequence[float], slope_atr: float, threshold: float) -> Side | None:
    """Two closes beyond the VWAP of their own bars, and the slope leading there; ``vwap`` ends with the newest bar."""
    beyond = [float(m5.close[-2]) - vwap[-2], float(m5.close[-1]) - vwap[-1]]
    if beyond[0] > 0 and beyond[1] > 0 and slope_atr > threshold:
        return Side.LONG
    return Side.SHORT if beyond[0] < 0 and beyond[1] < 0 and slope_atr < -threshold else None


def vwap_points(m5: Bars, flip: Side | None, volatility: Volatility) -> float:
    points = {None: 0.0, Side.LONG: 1.0, Side.SHORT: -2.0}[flip]
    down = sum(
        v * (1.0 if c < o else 0.5 if c == o else 0.0)
        for o, c, v in zip(m5.open[-12:], m5.close[-12:], m5.volume[-12:], strict=True)
    )
    share = down / m5.volume[-12:].sum()
    points += -1.0 if share > (0.72 if volatility is Volatility.LOW else 0.65) else 1.0 if share < 0.35 else 0.0
    return max(-2.0, min(2.0, points))


def momentum_points(m15: Bars, volatility: Volatility) -> float:
    rsi = talib.RSI(m15.close, 14)
    low, high = (40, 60) if volatility is Volatility.LOW else (45, 55)
    points = -1.0 if rsi[-1] < low and rsi[-1] < rsi[-4] else 1.0 if rsi[-1] > high and rsi[-1] > rsi[-4] else 0.0
    a, b, c = talib.MACD(m15.close, 12, 26, 9)[2][-3:]
    return points + (1.0 if a < b < c else -1.0 if a > b > c else 0.0)


def trend_points(m15: Bars, atr: float) -> float:
    points = 0.0
    for period, full in ((50, 0.10), (200, 0.05)):
        average = talib.EMA(m15.close, period)
        points += 0.75 * max(-1.0, min(1.0, (average[-1] - average[-11]) / 10 / atr / full))
    return points


def candle_points(m5: Bars, vwap: Sequence[float], atr: Floats) -> float:
    strongest = 0.0
    for ago, weight in enumerate((1.0, 2 / 3, 1 / 3), start=1):
        o, h, low, c = (float(column[-ago]) for column in (m5.open, m5.high, m5.low, m5.close))
        if abs(c - o) >= 0.65 * (h - low) > 0 and h - low >= 0.8 * atr[-ago]:
            across = min(o, c) <= vwap[-ago] < c or c < vwap[-ago] <= o
            points = weight * (2 if across else 1) * (1 if c > o else -1)
            strongest = points if abs(points) > abs(strongest) else strongest
    return strongest


def structure_points(m15: Bars, atr: Floats) -> float:
    """Walk over closed bars, keeping the latest unbroken swing of each side and the newest break."""
    level: dict[Side, float | None] = {Side.LONG: None, Side.SHORT: None}
    newest: tuple[int, Side, float] | None = None
    undone = False
    for now in range(6, len(m15)):
        close = float(m15.close[now])
        if newest and newest[1].sign * (close - newest[2]) < 0:
            undone = True
        for side, extremes in ((Side.LONG, m15.high), (Side.SHORT, -m15.low)):
            around = np.delete(extremes[now - 6 : now + 1], 3)
            if (extremes[now - 3] > around).all():
                level[side] = float(extremes[now - 3])
            held = level[side]
            if held is not None and side.sign * close - held >= 0.1 * atr[now]:
                newest, undone, level[side] = (now, side, side.sign * held), False, None
    if newest is None or undone:
        return 0.0
    return newest[1].sign * 3.0 * max(0.0, 1 - (len(m15) - 1 - newest[0]) / 16)


def expected(view: MarketView, m5: Bars, m15: Bars) -> tuple[dict[Layer, float], Side | None]:
    """Return the raw points of a BUY and the flip, given the view's regime."""
    atr15, atr5 = atr_of(m15), atr_of(m5)
    vwap = [vwap_at(m5, row) for row in range(len(m5) - 4, len(m5))]
    slope = (vwap[-1] - vwap[-4]) / 3 / float(atr15[-1])
    flip = flip_of(m5, vwap, slope, 0.05 * view.regime.slope_factor)
    return {
        Layer.STRUCTURE: structure_points(m15, atr15),
        Layer.VWAP: vwap_points(m5, flip, view.regime.volatility),
        Layer.MOMENTUM: momentum_points(m15, view.regime.volatility),
        Layer.TREND: trend_points(m15, float(atr15[-1])),
        Layer.CANDLE: candle_points(m5, vwap, atr5),
    }, flip


@pytest.mark.parametrize("name", [EURUSD_2019, XAUUSD_2025, BTCUSD_2025])
def test_points_and_flip_of_recorded_moments_are_those_of_the_rules(name: str) -> None:
    rng = np.random.default_rng(11)
    flips = 0
    for known in rng.integers(3_000, len(recorded(name)), 60).tolist():
        m5 = recorded(name)[known - M5_WINDOW : known]
        m15 = closed_before(m15_of(name), m5.last_close_ms)[-M15_WINDOW:]
        view = evaluate(m5=m5, m15=m15_of(name), flow=None, settings=SETTINGS)
        points, flip = expected(view, m5, m15)
        assert {r.layer: r.raw for r in view.long.readings} == pytest.approx(points, abs=1e-9)
        assert view.flip is flip
        assert view.vwap == pytest.approx(vwap_at(m5, len(m5) - 1), rel=1e-12)
        assert view.long.total == pytest.approx(sum(r.factor * points[r.layer] for r in view.long.readings))
        assert (view.atr_m15, view.atr_m5) == pytest.approx((atr_of(m15)[-1], atr_of(m5)[-1]))
        flips += flip is not None
    assert flips >= 3, "the moments show flips"


@pytest.mark.parametrize("name", [EURUSD_2019, XAUUSD_2025, BTCUSD_2025])
def test_regimes_of_recorded_moments_are_those_of_the_rules(name: str) -> None:
    rng = np.random.default_rng(12)
    seen: set[str] = set()
    for known in rng.integers(3_000, len(recorded(name)), 150).tolist():
        m5 = recorded(name)[known - M5_WINDOW : known]
        m15 = closed_before(m15_of(name), m5.last_close_ms)[-M15_WINDOW:]
        regime = evaluate(m5=m5, m15=m15_of(name), flow=None, settings=SETTINGS).regime
        atr = atr_of(m15)
        upper, _, lower = talib.BBANDS(m15.close, 20, 2.0, 2.0)
        atr_ratio = atr[-1] / np.mean(atr[-96:])
        width_ratio = (upper - lower)[-1] / np.median((upper - lower)[-96:])
        assert (regime.atr_ratio, regime.width_ratio) == pytest.approx((atr_ratio, width_ratio), rel=1e-5)
        hour = m5.last_close_ms // 3_600_000 % 24
        session = "asian" if hour < 8 or hour >= 21 else "london" if hour < 13 else "overlap" if hour < 16 else "ny"
        assert regime.session == session
        assert regime.volatility == ("low" if atr_ratio < 0.7 else "high" if atr_ratio > 1.3 else "normal")
        assert regime.structure is (Structure.RANGE if width_ratio < 0.8 else Structure.TREND)
        seen |= {regime.session, regime.volatility, regime.structure}
    assert len(seen) == 9, "the moments show every regime"


def test_flips_of_consecutive_bars_come_and_go_when_the_rules_say() -> None:
    """Every bar of two days of gold, so that the first and the last bar of each flip are among them."""
    m5, whole15 = recorded(XAUUSD_2025), m15_of(XAUUSD_2025)
    start, count = 5_000, 550
    vwap = [vwap_at(m5[row - 110 : row + 1], 110) for row in range(start - 4, start + count)]
    flips: list[Side | None] = []
    for step in range(count):
        known = start + step + 1
        view = evaluate(m5=m5[:known], m15=whole15, flow=None, settings=SETTINGS)
        recent = vwap[step + 1 : step + 5]
        slope = (recent[-1] - recent[-4]) / 3 / view.atr_m15
        flips.append(flip_of(m5[known - 2 : known], recent, slope, 0.05 * view.regime.slope_factor))
        assert view.flip is flips[-1]
    assert sum(a is not b for a, b in pairwise(flips)) > 10

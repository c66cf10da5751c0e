"""The two parts of a view: what the M15 bars say and what the M5 bars say, each read from one window of closed bars.

The M15 part stands until the next M15 bar closes, so a view between two of them reads the M5 part alone.
"""

from dataclasses import dataclass

import numpy as np

from dtms.domain.errors import FeedStale
from dtms.domain.market import Bars, Floats, Side
from dtms.market import indicators
from dtms.market.layers import momentum, structure, trend
from dtms.market.layers.conviction import Candle
from dtms.market.reading import Layer, Reading
from dtms.market.regime import Volatility, mean_ratio, median_ratio, volatility_of
from dtms.market.structure import Break, LatestBreak, find_breaks
from dtms.settings import ScoreSettings, Settings

BREAK_BARS = 200
"""How far back breaks are listed, in bars of each timeframe."""

Readings = dict[Layer, Reading | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class M15Part:
    """What the M15 bars alone say; it stands until the next one closes. ``bars`` is the window it was read from."""

    bars: Bars
    atr: float
    atr_ratio: float
    width_ratio: float
    breaks: tuple[Break, ...]
    latest: LatestBreak | None
    long: Readings
    short: Readings

    def readings(self, side: Side) -> Readings:
        """Return the readings of the M15 layers for ``side``."""
        return self.long if side is Side.LONG else self.short


@dataclass(frozen=True, slots=True, kw_only=True)
class M5Part:
    """What the M5 bars alone say, but for the VWAP's slope, which is measured in the ATR of M15."""

    close_ms: int
    close: float
    atr: float
    breaks: tuple[Break, ...]
    vwap: float
    vwap_change: float
    """Change of the VWAP per bar, a price difference."""
    beyond: Side | None
    volume_balance: float | None
    candles: tuple[Candle, ...]


def read_m15(bars: Bars, settings: Settings) -> M15Part:
    """Read regime figures, breaks and the M15 layers of both sides from one window of M15 bars.

    Raises:
        FeedStale: the market has not moved at all.
    """
    regime, rules = settings.regime, settings.score
    atr = indicators.atr(bars.high, bars.low, bars.close, regime.atr_period)
    if not atr[-1] > 0.0:
        raise FeedStale(f"{bars.symbol}: no M15 bar has moved")
    width = indicators.bollinger_width(
        bars.close[-regime.bollinger_period - regime.structure_bars + 1 :],
        regime.bollinger_period,
        regime.bollinger_sigma,
    )
    breaks, latest = find_breaks(
        bars, atr, side_bars=rules.swing_side_bars, margin_atr=rules.break_atr, newest_bars=BREAK_BARS
    )
    atr_ratio = mean_ratio(atr, regime.volatility_bars)
    long, short = _m15_readings(bars, float(atr[-1]), latest, volatility_of(atr_ratio, regime), rules)
    return M15Part(
        bars=bars,
        atr=float(atr[-1]),
        atr_ratio=atr_ratio,
        width_ratio=median_ratio(width, regime.structure_bars),
        breaks=breaks,
        latest=latest,
        long=long,
        short=short,
    )


def _m15_readings(
    bars: Bars, atr: float, latest: LatestBreak | None, volatility: Volatility, rules: ScoreSettings
) -> tuple[Readings, Readings]:
    balance = indicators.rsi_balance(bars.close, rules.rsi_period)
    _, _, histogram = indicators.macd(bars.close, rules.macd_fast, rules.macd_slow, rules.macd_signal)
    fast = _slope_atr(bars, rules.ema_fast, rules.ema_slope_bars, atr)
    slow = _slope_atr(bars, rules.ema_slow, rules.ema_slope_bars, atr)

    def of(side: Side) -> Readings:
        return {
            Layer.STRUCTURE: structure.read(latest, side, rules),
            Layer.MOMENTUM: momentum.read(balance, histogram, side, volatility, rules),
            Layer.TREND: trend.read(fast, slow, side, rules),
        }

    return of(Side.LONG), of(Side.SHORT)


def _slope_atr(bars: Bars, period: int, over_bars: int, atr: float) -> float | None:
    """Return the slope of an EMA in ATR per bar; None where the average is undefined."""
    if len(bars) < period + over_bars:
        return None
    average = indicators.ema(bars.close, period)
    return float(average[-1] - average[-1 - over_bars]) / over_bars / atr


def read_m5(bars: Bars, settings: Settings) -> M5Part:
    """Read VWAP, breaks, volume and the newest candles from one window of M5 bars."""
    rules = settings.score
    atr = indicators.atr(bars.high, bars.low, bars.close, settings.regime.atr_period)
    breaks, _ = find_breaks(
        bars, atr, side_bars=rules.swing_side_bars, margin_atr=rules.break_atr, newest_bars=BREAK_BARS
    )
    vwap = _vwap(bars, rules)
    change = float(vwap[-1] - vwap[-1 - rules.vwap_slope_bars]) / rules.vwap_slope_bars
    return M5Part(
        close_ms=bars.last_close_ms,
        close=float(bars.close[-1]),
        atr=float(atr[-1]),
        breaks=breaks,
        vwap=float(vwap[-1]),
        vwap_change=change,
        beyond=_beyond((bars.close[-rules.vwap_flip_closes :] - vwap[-rules.vwap_flip_closes :]).tolist()),
        volume_balance=_bar_balance(bars[-rules.opposite_share_bars :]),
        candles=_candles(bars, vwap, atr, len(rules.candle_weights)),
    )


def _vwap(bars: Bars, rules: ScoreSettings) -> Floats:
    """Return the rolling VWAP of as many of the newest bars as the rules look at."""
    count = max(rules.vwap_slope_bars + 1, rules.vwap_flip_closes, len(rules.candle_weights))
    span_ms = int(rules.vwap_hours * 3_600_000)
    rows = span_ms // bars.timeframe.ms + count
    high, low, close = bars.high[-rows:], bars.low[-rows:], bars.close[-rows:]
    values = indicators.vwap(
        bars.time_ms[-rows:],
        (high + low + close) / 3.0,
        bars.volume[-rows:],
        bar_ms=bars.timeframe.ms,
        span_ms=span_ms,
    )
    return values[-count:]


def _beyond(distances: list[float]) -> Side | None:
    """Return the side of the VWAP on which all the closes lie, given their distances above it."""
    if all(d > 0.0 for d in distances):
        return Side.LONG
    return Side.SHORT if all(d < 0.0 for d in distances) else None


def _bar_balance(bars: Bars) -> float | None:
    """Return (up − down) / total tick volume by each bar's own direction; None without volume."""
    total = float(bars.volume.sum())
    return float((np.sign(bars.close - bars.open) * bars.volume).sum()) / total if total > 0.0 else None


def _candles(bars: Bars, vwap: Floats, atr: Floats, count: int) -> tuple[Candle, ...]:
    """Return the last ``count`` bars with VWAP and ATR at their close, newest first."""
    columns = (bars.open, bars.high, bars.low, bars.close, vwap, atr)
    return tuple(Candle(*row) for row in zip(*(c[: -count - 1 : -1].tolist() for c in columns), strict=True))

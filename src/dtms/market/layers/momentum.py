"""Momentum (M15): RSI outside its neutral band and still going, and the MACD histogram's direction."""

from itertools import pairwise
from math import isnan

from dtms.domain.market import Floats, Side
from dtms.market.reading import Layer, Reading, clipped
from dtms.market.regime import Volatility
from dtms.settings import ScoreSettings


def read(
    balance: Floats, histogram: Floats, side: Side, volatility: Volatility, settings: ScoreSettings
) -> Reading | None:
    """Read RSI and MACD for ``side``; absent when either is undefined over the bars looked at.

    Args:
        balance: RSI as (gains − losses) / (gains + losses), oldest first.
        histogram: MACD histogram, a price difference.
    """
    rsi = (50.0 + 50.0 * side.sign * balance[-settings.rsi_bars - 1 :]).tolist()
    bars = (side.sign * histogram[-settings.macd_bars :]).tolist()
    if len(rsi) <= settings.rsi_bars or len(bars) < settings.macd_bars or isnan(rsi[0]) or isnan(bars[0]):
        return None
    points, words = _rsi_points(rsi, volatility, settings)
    steps = [after - before for before, after in pairwise(bars)]
    way = 1.0 if all(s > 0.0 for s in steps) else -1.0 if all(s < 0.0 for s in steps) else 0.0
    trail = {1.0: "rising", -1.0: "falling", 0.0: "undecided"}[way]
    return clipped(
        Layer.MOMENTUM, points + way, f"RSI {words}, MACD histogram {trail}, both as the {side.direction} sees them"
    )


def _rsi_points(rsi: list[float], volatility: Volatility, settings: ScoreSettings) -> tuple[float, str]:
    quiet = volatility is Volatility.LOW
    low = settings.rsi_low_quiet if quiet else settings.rsi_low
    high = settings.rsi_high_quiet if quiet else settings.rsi_high
    before, now = rsi[0], rsi[-1]
    words = f"{now:.1f} after {before:.1f} {settings.rsi_bars} bars ago (band {low:g} to {high:g})"
    if now < low and now < before:
        return -1.0, words
    return (1.0 if now > high and now > before else 0.0), words

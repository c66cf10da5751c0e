"""Candle conviction (M5): a wide bar that is nearly all body, more so when it closes across the VWAP."""

from dataclasses import dataclass

from dtms.domain.market import Side
from dtms.market.reading import Layer, Reading, clipped
from dtms.settings import ScoreSettings


@dataclass(frozen=True, slots=True)
class Candle:
    """A bar with the VWAP and ATR (M5) at its close."""

    open: float
    high: float
    low: float
    close: float
    vwap: float
    atr: float


def read(candles: tuple[Candle, ...], side: Side, settings: ScoreSettings) -> Reading | None:
    """Read the strongest of the last bars for ``side``, newest first in ``candles``; absent without bars or ATR.

    Of two equally strong ones the newer counts.
    """
    weights = settings.candle_weights
    if len(candles) < len(weights) or not all(candle.atr > 0.0 for candle in candles):
        return None
    strongest, age = 0.0, 0
    for bars_ago, (candle, weight) in enumerate(zip(candles, weights, strict=False)):
        points = weight * _conviction(candle, settings)
        if abs(points) > abs(strongest):
            strongest, age = points, bars_ago
    if strongest == 0.0:
        return Reading(Layer.CANDLE, 0.0, f"no decided bar among the last {len(weights)}")
    direction = "up" if strongest > 0.0 else "down"
    span = candles[age].high - candles[age].low
    reason = f"decided bar {direction}, {age} M5 bars ago, range {span / candles[age].atr:.2f} ATR"
    return clipped(Layer.CANDLE, side.sign * strongest, f"{reason}, {abs(strongest):.2f} points")


def _conviction(candle: Candle, settings: ScoreSettings) -> float:
    """Return 1, or 2 across the VWAP, signed by the bar's direction; 0 for a bar that decides nothing."""
    body, span = candle.close - candle.open, candle.high - candle.low
    if span <= 0.0 or abs(body) < settings.candle_body * span or span < settings.candle_range_atr * candle.atr:
        return 0.0
    sign = 1.0 if body > 0.0 else -1.0
    crosses = (candle.open - candle.vwap) * sign <= 0.0 < (candle.close - candle.vwap) * sign
    return sign * (2.0 if crosses else 1.0)

"""Trend (M15): the slopes of a fast and a slow average, in ATR per bar."""

from dtms.domain.market import Side
from dtms.market.reading import Layer, Reading, clipped
from dtms.settings import ScoreSettings


def read(
    fast_slope_atr: float | None, slow_slope_atr: float | None, side: Side, settings: ScoreSettings
) -> Reading | None:
    """Read the slopes (ATR per bar) for ``side``; absent when either is undefined."""
    if fast_slope_atr is None or slow_slope_atr is None:
        return None
    fast = _clip(fast_slope_atr / settings.ema_fast_slope_atr)
    slow = _clip(slow_slope_atr / settings.ema_slow_slope_atr)
    points = side.sign * settings.trend_points * (fast + slow)
    reason = f"EMA{settings.ema_fast} {fast_slope_atr:+.3f} and EMA{settings.ema_slow} {slow_slope_atr:+.3f} ATR a bar"
    return clipped(Layer.TREND, points, reason)


def _clip(value: float) -> float:
    return min(1.0, max(-1.0, value))

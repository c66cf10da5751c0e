"""Small markets made by hand."""

from collections.abc import Sequence

import numpy as np

from dtms.domain.market import Bars, FlowBars, Timeframe

MONDAY_MS = 1_756_684_800_000
"""2025-09-01 00:00 UTC."""


def bars_of(
    close: Sequence[float],
    *,
    timeframe: Timeframe = Timeframe.M15,
    half_range: float = 0.5,
    start_ms: int = MONDAY_MS,
    volume: float = 100.0,
) -> Bars:
    """Make bars that open at the close before and reach ``half_range`` beyond their body on both sides."""
    closes = np.asarray(close, dtype=np.float64)
    opens = np.concatenate((closes[:1], closes[:-1]))
    return Bars(
        symbol="XAUUSD",
        timeframe=timeframe,
        time_ms=start_ms + np.arange(len(closes), dtype=np.int64) * timeframe.ms,
        open=opens,
        high=np.maximum(opens, closes) + half_range,
        low=np.minimum(opens, closes) - half_range,
        close=closes,
        volume=np.full(len(closes), volume),
        spread=np.full(len(closes), 0.2),
    )


def swing_bars(highs: Sequence[float], lows: Sequence[float], close: Sequence[float]) -> Bars:
    """Make M15 bars from highs, lows and closes."""
    closes = np.asarray(close, dtype=np.float64)
    return Bars(
        symbol="XAUUSD",
        timeframe=Timeframe.M15,
        time_ms=MONDAY_MS + np.arange(len(closes), dtype=np.int64) * Timeframe.M15.ms,
        open=closes,
        high=np.asarray(highs, dtype=np.float64),
        low=np.asarray(lows, dtype=np.float64),
        close=closes,
        volume=np.ones(len(closes)),
        spread=np.zeros(len(closes)),
    )


def flow_at(end_ms: int, signed: Sequence[float], total: float = 100.0) -> FlowBars:
    """Make signed ticks of consecutive M5 bars, the last of which closes at ``end_ms``."""
    values = np.asarray(signed, dtype=np.float64)
    time_ms = end_ms - Timeframe.M5.ms * np.arange(len(values), 0, -1, dtype=np.int64)
    return FlowBars(time_ms=time_ms, signed=values, total=np.full(len(values), total))

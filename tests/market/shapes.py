"""Markets made bar by bar that show one pattern each."""

from collections.abc import Sequence

import numpy as np
from tests.market.made import MONDAY_MS

from dtms.domain.market import Bars, Timeframe

Row = tuple[float, float, float, float]
"""Open, high, low, close."""


def candles(*rows: Row, volume: Sequence[float] | None = None) -> Bars:
    """Make M15 bars row by row."""
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    count = len(rows)
    return Bars(
        symbol="XAUUSD",
        timeframe=Timeframe.M15,
        time_ms=MONDAY_MS + np.arange(count, dtype=np.int64) * Timeframe.M15.ms,
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=np.array(volume, dtype=np.float64) if volume else np.full(count, 100.0),
        spread=np.zeros(count),
    )


def after_calm(*rows: Row) -> Bars:
    """Make bars that follow twenty of range 1 around 100, so that ATR is known and nothing else stands out."""
    return candles(*[(100.0, 100.5, 99.5, 100.0)] * 20, *rows)


LEAP: tuple[Row, ...] = ((100, 100.5, 99.5, 100), (100, 104, 100, 104), (104, 105, 102.5, 104.5))
"""A gap from 100.5 up to 102.5."""


HIGH_THEN_LOW: tuple[Row, ...] = (
    (100, 101, 99.8, 100.8),
    (100.8, 103, 100.7, 102),  # the swing high that is broken later
    (102, 102.2, 100.9, 101),
    (101, 101.2, 99.9, 100),
    (100, 100.2, 98.4, 98.6),  # the last falling bar before the move
    (98.6, 101, 98.2, 100.9),  # the lowest point
    (100.9, 102.8, 100.8, 102.7),
    (102.7, 105, 102.6, 104.8),  # closes beyond the swing
)


DIP: tuple[Row, ...] = (
    (100, 100.5, 99, 99.5),
    (99.5, 99.6, 97, 98),
    (98, 99, 97.5, 98.8),
    (98.8, 100, 98.5, 99.8),
    (99.8, 100.5, 99.5, 100),
)
"""A swing low at 97, confirmed by the last bar."""


def peaks(*tops: float) -> Bars:
    """Make bars with a swing high at each of ``tops`` between calm bars around 100."""
    calm: Row = (100, 100.5, 99.5, 100)
    rows: list[Row] = [calm] * 20
    for top in tops:
        rows += [calm, calm, calm, (100, top, 99.5, 100)]
    return candles(*rows, *[calm] * 4)

"""How far prices lie from their averages, and how wide they spread: VWAP deviation, band width, aligned averages."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from dtms.domain.market import Bars, Side
from dtms.market import indicators
from dtms.market.regime import median_ratio
from dtms.settings import RegimeSettings

EMA_PERIODS = (20, 50, 200)
_VWAP_BARS_MIN = 5


@dataclass(frozen=True, slots=True)
class VwapDistance:
    """The close's distance from ``vwap`` in volume-weighted standard deviations, signed."""

    vwap: float
    sigmas: float


@dataclass(frozen=True, slots=True)
class BandWidth:
    """The Bollinger width over its own median, and whether it grew with the newest bar."""

    ratio: float
    is_widening: bool


@dataclass(frozen=True, slots=True)
class Averages:
    """The exponential averages of the close over ``EMA_PERIODS``."""

    fast: float
    middle: float
    slow: float

    def aligned(self) -> Side | None:
        """Return the side for which the faster average lies beyond the slower, throughout."""
        if self.fast > self.middle > self.slow:
            return Side.LONG
        return Side.SHORT if self.fast < self.middle < self.slow else None


def vwap_distance(bars: Bars, span_hours: float) -> VwapDistance | None:
    """Measure the newest close against the VWAP of the ``span_hours`` before it; None when too few bars or no spread.

    Prices are typical prices, (high + low + close) / 3, weighed by tick volume; alike where no volume is known.
    """
    first = int(np.searchsorted(bars.time_ms, bars.last_close_ms - int(span_hours * 3_600_000)))
    span = bars[first:]
    if len(span) < _VWAP_BARS_MIN:
        return None
    reference = float(span.close[-1])
    typical = (span.high - reference + (span.low - reference) + (span.close - reference)) / 3.0
    weights = span.volume if span.volume.any() else np.ones(len(span))
    total = float(weights.sum())
    mean = float((typical * weights).sum()) / total
    sigma = sqrt(float((weights * (typical - mean) ** 2).sum()) / total)
    return VwapDistance(reference + mean, -mean / sigma) if sigma > 0.0 else None


def band_width(bars: Bars, rules: RegimeSettings) -> BandWidth | None:
    """Return the band's width against the median of the regime's span; None with too few bars."""
    rows = rules.bollinger_period + rules.structure_bars
    if len(bars) < rows:
        return None
    width = indicators.bollinger_width(bars.close[-rows:], rules.bollinger_period, rules.bollinger_sigma)
    return BandWidth(median_ratio(width, rules.structure_bars), bool(width[-1] > width[-2]))


def averages(bars: Bars) -> Averages | None:
    """Return the averages at the newest close; None with fewer bars than the slowest needs."""
    if len(bars) < max(EMA_PERIODS):
        return None
    return Averages(*(float(indicators.ema(bars.close, period)[-1]) for period in EMA_PERIODS))

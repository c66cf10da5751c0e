"""The regime: session, volatility and structure, and what they do to the VWAP-slope threshold."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dtms.domain.market import Floats
from dtms.settings import RegimeSettings

_HOUR_MS = 3_600_000


class Session(StrEnum):
    """Which part of the trading day it is."""

    ASIAN = "asian"
    LONDON = "london"
    OVERLAP = "overlap"
    NY = "ny"


class Volatility(StrEnum):
    """How wide the market moves, against its own recent mean."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Structure(StrEnum):
    """Whether the market is confined or travels."""

    RANGE = "range"
    TREND = "trend"


SESSIONS: tuple[tuple[int, Session], ...] = (
    (8, Session.ASIAN),
    (13, Session.LONDON),
    (16, Session.OVERLAP),
    (21, Session.NY),
    (24, Session.ASIAN),
)
"""Half-open in UTC hours: each session ends where its hour begins; the off-hours from 21 on count as Asian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The three dimensions with their figures.

    ``atr_ratio`` is ATR over its recent mean, ``width_ratio`` the Bollinger width over its recent median;
    ``slope_factor`` multiplies the base of the VWAP-slope threshold.
    """

    session: Session
    volatility: Volatility
    structure: Structure
    atr_ratio: float
    width_ratio: float
    slope_factor: float

    @property
    def text(self) -> str:
        """The regime in words with its figures."""
        return (
            f"{self.session} session, {self.volatility} volatility (ATR {self.atr_ratio:.2f} × its mean), "
            f"{self.structure} (band width {self.width_ratio:.2f} × its median), VWAP slope × {self.slope_factor:.2f}"
        )


def session_at(at_ms: int) -> Session:
    """Return the session of a moment (UTC ms)."""
    hour = at_ms // _HOUR_MS % 24
    return next(session for end, session in SESSIONS if hour < end)


def volatility_of(atr_ratio: float, settings: RegimeSettings) -> Volatility:
    """Classify ATR over its mean."""
    if atr_ratio < settings.volatility_low:
        return Volatility.LOW
    return Volatility.HIGH if atr_ratio > settings.volatility_high else Volatility.NORMAL


def structure_of(width_ratio: float, settings: RegimeSettings) -> Structure:
    """Classify the Bollinger width over its median."""
    return Structure.RANGE if width_ratio < settings.structure_range else Structure.TREND


def mean_ratio(values: Floats, count: int) -> float:
    """Return the newest value over the mean of the last ``count``; 1 where the mean is not positive."""
    mean = float(values[-count:].sum()) / len(values[-count:])
    return float(values[-1]) / mean if mean > 0.0 else 1.0


def median_ratio(values: Floats, count: int) -> float:
    """Return the newest value over the median of the last ``count``; 1 where the median is not positive."""
    ranked = np.sort(values[-count:])
    half = len(ranked) // 2
    median = float(ranked[half] if len(ranked) % 2 else 0.5 * (ranked[half - 1] + ranked[half]))
    return float(values[-1]) / median if median > 0.0 else 1.0


def regime_of(at_ms: int, atr_ratio: float, width_ratio: float, settings: RegimeSettings) -> Regime:
    """Build the regime of a moment from the newest M15 ratios."""
    session, volatility = session_at(at_ms), volatility_of(atr_ratio, settings)
    structure = structure_of(width_ratio, settings)
    factor = (
        settings.slope_session[session] * settings.slope_volatility[volatility] * settings.slope_structure[structure]
    )
    return Regime(
        session=session,
        volatility=volatility,
        structure=structure,
        atr_ratio=atr_ratio,
        width_ratio=width_ratio,
        slope_factor=min(settings.slope_factor_max, max(settings.slope_factor_min, factor)),
    )

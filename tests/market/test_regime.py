"""The regime's dimensions, at and beside their edges."""

from dataclasses import replace

import numpy as np
import pytest
from tests.market.made import MONDAY_MS

from dtms.market.regime import (
    Session,
    Structure,
    Volatility,
    mean_ratio,
    median_ratio,
    regime_of,
    session_at,
    structure_of,
    volatility_of,
)
from dtms.settings import RegimeSettings

SETTINGS = RegimeSettings()
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("hour", "before", "from_then_on"),
    [
        (8, Session.ASIAN, Session.LONDON),
        (13, Session.LONDON, Session.OVERLAP),
        (16, Session.OVERLAP, Session.NY),
        (21, Session.NY, Session.ASIAN),
        (24, Session.ASIAN, Session.ASIAN),
    ],
)
def test_sessions_are_half_open(hour: int, before: Session, from_then_on: Session) -> None:
    at_ms = MONDAY_MS + hour * HOUR_MS
    assert (session_at(at_ms - 1), session_at(at_ms)) == (before, from_then_on)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.69, Volatility.LOW),
        (0.7, Volatility.NORMAL),
        (1.3, Volatility.NORMAL),
        (1.31, Volatility.HIGH),
    ],
)
def test_volatility_is_low_below_and_high_above_its_bounds(ratio: float, expected: Volatility) -> None:
    assert volatility_of(ratio, SETTINGS) is expected


def test_a_band_narrower_than_four_fifths_of_its_median_is_a_range() -> None:
    assert structure_of(0.79, SETTINGS) is Structure.RANGE
    assert structure_of(0.8, SETTINGS) is Structure.TREND


@pytest.mark.parametrize(
    ("hour", "atr_ratio", "width_ratio", "factor"),
    [
        (3, 0.5, 0.5, 1.8),  # 1.5 · 1.4 · 1.3 = 2.73, clamped
        (14, 2.0, 1.0, 0.56),  # 0.7 · 0.8 · 1.0
        (9, 1.0, 0.5, 1.3),
        (18, 1.0, 1.0, 0.8),
    ],
)
def test_the_slope_factor_is_the_clamped_product(
    hour: int, atr_ratio: float, width_ratio: float, factor: float
) -> None:
    regime = regime_of(MONDAY_MS + hour * HOUR_MS, atr_ratio, width_ratio, SETTINGS)
    assert regime.slope_factor == pytest.approx(factor)


def test_the_slope_factor_is_clamped_from_below() -> None:
    settings = replace(SETTINGS, slope_session={**SETTINGS.slope_session, "overlap": 0.5})
    assert regime_of(MONDAY_MS + 14 * HOUR_MS, 2.0, 1.0, settings).slope_factor == 0.5


def test_ratios_compare_the_newest_value_with_those_looked_at_only() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 6.0])
    assert mean_ratio(values, 4) == 2.0
    assert median_ratio(values, 4) == 2.4
    assert median_ratio(values, 3) == 2.0


def test_a_market_without_width_has_ratios_of_one() -> None:
    assert (mean_ratio(np.zeros(5), 5), median_ratio(np.zeros(5), 5)) == (1.0, 1.0)


def test_the_text_names_every_dimension_with_its_figure() -> None:
    text = regime_of(MONDAY_MS + 9 * HOUR_MS, 1.42, 0.75, SETTINGS).text
    assert text == (
        "london session, high volatility (ATR 1.42 × its mean), range (band width 0.75 × its median), VWAP slope × 1.04"
    )

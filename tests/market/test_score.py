"""Readings are weighed by the regime, summed, and scaled by what is absent."""

import pytest

from dtms.domain.market import Side
from dtms.market.reading import RANGES, Layer, Reading
from dtms.market.regime import Regime, Session, Structure, Volatility
from dtms.market.score import Score, factors_of, score
from dtms.settings import ScoreSettings

RULES = ScoreSettings()
ONES = dict.fromkeys(Layer, 1.0)


def regime(
    session: Session = Session.LONDON,
    volatility: Volatility = Volatility.NORMAL,
    structure: Structure = Structure.TREND,
) -> Regime:
    return Regime(
        session=session,
        volatility=volatility,
        structure=structure,
        atr_ratio=1.0,
        width_ratio=1.0,
        slope_factor=1.0,
    )


def scored(points: dict[Layer, float], factors: dict[Layer, float] = ONES) -> Score:
    return score(Side.LONG, {layer: Reading(layer, p, "why") for layer, p in points.items()}, factors, RULES)


def test_the_ranges_sum_to_the_full_range() -> None:
    assert sum(RANGES.values()) == RULES.full_range == 11.5


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (regime(), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        (regime(structure=Structure.RANGE), (0.7, 1.3, 1.0, 0.8, 1.2, 1.1)),
        (regime(volatility=Volatility.HIGH), (1.2, 0.9, 0.8, 1.0, 1.1, 0.9)),
        (regime(volatility=Volatility.LOW), (1.0,) * 6),
        (regime(session=Session.ASIAN), (0.8,) * 6),
        (
            regime(Session.ASIAN, Volatility.HIGH, Structure.RANGE),
            (0.672, 0.936, 0.64, 0.64, 1.056, 0.792),
        ),
    ],
)
def test_factors_are_the_product_of_the_rows_that_apply(of: Regime, expected: tuple[float, ...]) -> None:
    assert tuple(factors_of(of, RULES).values()) == pytest.approx(expected)


def test_the_total_is_the_sum_of_the_points_after_their_factors() -> None:
    result = scored({Layer.STRUCTURE: -3.0, Layer.CANDLE: 1.0}, {**ONES, Layer.STRUCTURE: 1.2})
    assert result.total == pytest.approx(-2.6)
    assert [(r.layer, r.raw, r.factor) for r in result.readings] == [
        (Layer.STRUCTURE, -3.0, 1.2),
        (Layer.CANDLE, 1.0, 1.0),
    ]


def test_absent_layers_are_named_and_scale_the_thresholds() -> None:
    result = scored(dict.fromkeys(set(Layer) - {Layer.FLOW, Layer.TREND}, 0.0))
    assert result.absent == (Layer.TREND, Layer.FLOW)
    assert result.scale == pytest.approx(9.0 / 11.5)
    assert "flow absent" in result.summary


def test_all_layers_present_scale_by_one() -> None:
    assert scored(dict.fromkeys(Layer, 0.0)).scale == 1.0


@pytest.mark.parametrize(
    ("points", "against"),
    [
        ({Layer.STRUCTURE: -2.7, Layer.VWAP: 0.3}, True),  # exactly 90 %
        ({Layer.STRUCTURE: -2.0, Layer.VWAP: 0.3}, False),
        ({Layer.STRUCTURE: -0.1, Layer.VWAP: 0.0}, True),
        ({Layer.STRUCTURE: 0.0}, False),
        ({Layer.STRUCTURE: 3.0}, False),
        ({}, False),
    ],
)
def test_confluence_against_needs_nine_tenths_of_the_absolute_points(points: dict[Layer, float], against: bool) -> None:
    assert scored(points).confluence_against is against

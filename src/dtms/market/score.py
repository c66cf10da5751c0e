"""The score: the layers' readings for one side, weighed by the regime and summed.

Every layer's factor is the product of the rows that apply: ranging market, high volatility, Asian session. Absent
layers are named, and ``scale`` says by how much thresholds shrink without them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.market.reading import RANGES, Layer, Reading
from dtms.market.regime import Regime, Session, Structure, Volatility
from dtms.settings import ScoreSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedReading:
    """A layer's points after the regime's ``factor``; ``raw`` is before it."""

    layer: Layer
    points: float
    raw: float
    factor: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How far the market supports a trade of ``side``; thresholds are multiplied by ``scale`` before comparing."""

    side: Side
    total: float
    readings: tuple[WeightedReading, ...]
    absent: tuple[Layer, ...]
    scale: float
    confluence_against: bool
    summary: str

    def as_json(self) -> dict[str, Json]:
        """Return the total with every reading and its reason, as JSON."""
        return {
            "direction": self.side.direction,
            "total": self.total,
            "scale": self.scale,
            "confluence_against": self.confluence_against,
            "summary": self.summary,
            "readings": [
                {"layer": r.layer.value, "points": r.points, "raw": r.raw, "factor": r.factor, "reason": r.reason}
                for r in self.readings
            ],
            "absent": [layer.value for layer in self.absent],
        }


def factors_of(regime: Regime, settings: ScoreSettings) -> dict[Layer, float]:
    """Return each layer's factor in a regime."""
    rows: tuple[tuple[bool, tuple[float, ...]], ...] = (
        (regime.structure is Structure.RANGE, settings.factors_range),
        (regime.volatility is Volatility.HIGH, settings.factors_high_volatility),
        (regime.session is Session.ASIAN, (settings.factor_asian,) * len(Layer)),
    )
    factors = dict.fromkeys(Layer, 1.0)
    for applies, row in rows:
        if applies:
            factors = {layer: factors[layer] * factor for layer, factor in zip(Layer, row, strict=True)}
    return factors


def score(
    side: Side, readings: Mapping[Layer, Reading | None], factors: Mapping[Layer, float], settings: ScoreSettings
) -> Score:
    """Weigh and sum the readings of one side; a layer without a reading is absent."""
    present = tuple(reading for layer in Layer if (reading := readings.get(layer)) is not None)
    weighted = tuple(
        WeightedReading(
            layer=r.layer, points=r.points * factors[r.layer], raw=r.points, factor=factors[r.layer], reason=r.reason
        )
        for r in present
    )
    absent = tuple(layer for layer in Layer if readings.get(layer) is None)
    total = sum(r.points for r in weighted)
    return Score(
        side=side,
        total=total,
        readings=weighted,
        absent=absent,
        scale=sum(RANGES[r.layer] for r in present) / settings.full_range,
        confluence_against=_is_confluence_against(weighted, settings.confluence_share),
        summary=_summary(side, total, weighted, absent),
    )


def _is_confluence_against(readings: tuple[WeightedReading, ...], share: float) -> bool:
    """Tell whether at least ``share`` of the absolute points are negative; a silent market is no confluence."""
    against = -sum(r.points for r in readings if r.points < 0.0)
    whole = sum(abs(r.points) for r in readings)
    return against > 0.0 and against >= share * whole


def _summary(side: Side, total: float, readings: tuple[WeightedReading, ...], absent: tuple[Layer, ...]) -> str:
    parts = [f"{r.layer} {r.points:+.2f}" for r in readings]
    parts += [f"{layer} absent" for layer in absent]
    return f"{side.direction} {total:+.2f}: {', '.join(parts)}"

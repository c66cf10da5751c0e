"""What a signal layer says: points for one side, and why."""

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.market import Side


class Layer(StrEnum):
    """The six layers, in the order in which their factors are configured."""

    STRUCTURE = "structure"
    VWAP = "vwap"
    MOMENTUM = "momentum"
    TREND = "trend"
    FLOW = "flow"
    CANDLE = "candle"


RANGES: dict[Layer, float] = {
    Layer.STRUCTURE: 3.0,
    Layer.VWAP: 2.0,
    Layer.MOMENTUM: 2.0,
    Layer.TREND: 1.5,
    Layer.FLOW: 1.0,
    Layer.CANDLE: 2.0,
}
"""The largest absolute points of each layer, before the regime's factors."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A layer's points for one side (negative: against it) before the regime's factors, and the reason with figures."""

    layer: Layer
    points: float
    reason: str


def clipped(layer: Layer, points: float, reason: str) -> Reading:
    """Make a reading whose points lie within the layer's range."""
    limit = RANGES[layer]
    return Reading(layer, min(limit, max(-limit, points)), reason)


def attitude(points: float, side: Side) -> str:
    """Word how points stand to a trade of ``side``."""
    stance = "for" if points > 0 else "against" if points < 0 else "neutral to"
    return f"{stance} the {side.direction}"

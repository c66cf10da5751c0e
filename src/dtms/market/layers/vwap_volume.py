"""VWAP and volume (M5): a flip of price and slope across the rolling VWAP, and the volume that goes the other way."""

from dataclasses import dataclass

from dtms.domain.market import Side
from dtms.market.reading import Layer, Reading, clipped
from dtms.market.regime import Volatility
from dtms.settings import ScoreSettings

_FLIP_AGAINST = -2.0
_FLIP_WITH = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VwapFigures:
    """Where price stands to its VWAP.

    ``slope_atr`` and ``threshold_atr`` are in ATR(14, M15) per M5 bar; ``beyond`` is the side on which the last closes
    all lie (None when they do not agree); ``volume_balance`` is (up − down) / total volume, None when there is none.
    """

    slope_atr: float
    threshold_atr: float
    beyond: Side | None
    volume_balance: float | None
    volume_source: str


def flip_side(figures: VwapFigures) -> Side | None:
    """Return the side that the present flip favours: the closes lie there, and the slope leads there fast enough."""
    side = figures.beyond
    return side if side is not None and figures.slope_atr * side.sign > figures.threshold_atr else None


def read(figures: VwapFigures | None, side: Side, volatility: Volatility, settings: ScoreSettings) -> Reading | None:
    """Read flip and opposite volume for ``side``; absent without a VWAP."""
    if figures is None:
        return None
    flip, reason = _flip_points(figures, side)
    volume, share = _volume_points(figures, side, volatility, settings)
    return clipped(Layer.VWAP, flip + volume, f"{reason}; {share}")


def _flip_points(figures: VwapFigures, side: Side) -> tuple[float, str]:
    slope = f"slope {figures.slope_atr:+.3f} ATR a bar against a threshold of {figures.threshold_atr:.3f}"
    flip = flip_side(figures)
    if flip is None:
        return 0.0, f"no VWAP flip ({slope})"
    points = _FLIP_WITH if flip is side else _FLIP_AGAINST
    return points, f"VWAP flip for {flip.direction} ({slope})"


def _volume_points(
    figures: VwapFigures, side: Side, volatility: Volatility, settings: ScoreSettings
) -> tuple[float, str]:
    if figures.volume_balance is None:
        return 0.0, "volume unknown"
    quiet = volatility is Volatility.LOW
    high = settings.opposite_share_high_low_volatility if quiet else settings.opposite_share_high
    share = 0.5 * (1.0 - side.sign * figures.volume_balance)
    points = -1.0 if share > high else 1.0 if share < settings.opposite_share_low else 0.0
    return points, f"{share:.0%} of the {figures.volume_source} against the {side.direction}"

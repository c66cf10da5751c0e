"""What makes a trailing stop keep a wider distance: squeeze, disagreeing timeframes, a stretched price, a volume node."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Read at ``close_ms`` (UTC); ``stretch_sigma`` and ``node_distance_atr`` are absent when they are not known."""

    close_ms: int
    is_squeezed: bool
    timeframes_disagree: bool
    stretch_sigma: float | None
    """How many deviations the close is from EMA200, signed."""
    node_distance_atr: float | None
    """How far the nearest volume node is, in ATR."""

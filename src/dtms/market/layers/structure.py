"""Structure (M15): the newest break of structure, fading with age and void when undone."""

from dtms.domain.market import Side
from dtms.market.reading import Layer, Reading, clipped
from dtms.market.structure import LatestBreak
from dtms.settings import ScoreSettings


def read(latest: LatestBreak | None, side: Side, settings: ScoreSettings) -> Reading:
    """Read the newest break for ``side``: full points by the side it favours, falling linearly to 0."""
    if latest is None:
        return Reading(Layer.STRUCTURE, 0.0, "no break of structure in the window")
    what = f"{latest.kind} for {latest.side.direction} beyond {latest.level:.10g}, {latest.age_bars} M15 bars ago"
    if latest.undone:
        return Reading(Layer.STRUCTURE, 0.0, f"{what}, undone since")
    share = max(0.0, 1.0 - latest.age_bars / settings.break_decay_bars)
    stance = 1 if latest.side is side else -1
    return clipped(Layer.STRUCTURE, stance * settings.break_points * share, what)

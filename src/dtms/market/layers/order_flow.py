"""Order flow (signed ticks): the net of the last hours against what chance would give."""

from math import isfinite, sqrt

import numpy as np

from dtms.domain.market import FlowBars, Side, Timeframe
from dtms.market.reading import Layer, Reading, clipped
from dtms.settings import ScoreSettings

_HOUR_MS = 3_600_000


def strength(flow: FlowBars | None, at_ms: int, settings: ScoreSettings) -> float | None:
    """Return net signed volume of the last hours over √n · σ of the bars of the last day, at ``at_ms``.

    None without data, when the bars reach back less than the net's span, or when they do not vary.
    """
    if flow is None or len(flow) == 0:
        return None
    end = int(np.searchsorted(flow.time_ms, at_ms - Timeframe.M5.ms, side="right"))
    oldest, recent = np.searchsorted(
        flow.time_ms, (at_ms - int(settings.flow_sigma_hours * _HOUR_MS), at_ms - int(settings.flow_hours * _HOUR_MS))
    ).tolist()
    reaches_back = oldest < end and int(flow.time_ms[oldest]) <= at_ms - int(settings.flow_hours * _HOUR_MS)
    if not reaches_back or recent >= end:
        return None
    day = flow.signed[oldest:end]
    sigma = sqrt(float(np.square(day - day.sum() / len(day)).sum()) / len(day))
    if not (isfinite(sigma) and sigma > 0.0):
        return None
    return float(flow.signed[recent:end].sum()) / (sqrt(end - recent) * sigma)


def read(flow_strength: float | None, side: Side, settings: ScoreSettings, source: str | None = None) -> Reading | None:
    """Read the flow for ``side``; absent without a strength. ``source`` is an exchange, None the terminal's ticks."""
    if flow_strength is None:
        return None
    own = side.sign * flow_strength
    points = 1.0 if own > settings.flow_threshold else -1.0 if own < -settings.flow_threshold else 0.0
    whose = f" of {source}" if source is not None else ""
    reason = f"net signed flow{whose} {flow_strength:+.2f} sigma over {settings.flow_hours:g} h"
    return clipped(Layer.FLOW, points, reason)

"""Order flow out of a terminal's ticks: the tick rule on the mid price, summed per five minutes."""

from typing import Any

import numpy as np

BAR_MS = 300_000


def sum_flow(ticks: Any, from_ms: int, to_ms: int) -> list[list[int]]:
    """Sum signed ticks per bar over ``[from_ms, to_ms)``, server time.

    ``ticks`` is the vendor's structured array, oldest first; rows before ``from_ms`` serve as predecessors.
    Returns ``[times, signed, total]``: the bars' opening times, up-ticks minus down-ticks of the mid price, and the
    ticks that moved it. Quotes that are not finite, not positive or crossed are left out.
    """
    bid, ask, time_ms = ticks["bid"], ticks["ask"], ticks["time_msc"].astype(np.int64)
    sound = np.isfinite(bid) & np.isfinite(ask) & (bid > 0) & (ask >= bid)
    mid, time_ms = (bid[sound] + ask[sound]) / 2, time_ms[sound]
    sign = np.sign(np.diff(mid))
    inside = (time_ms[1:] >= from_ms) & (time_ms[1:] < to_ms) & (sign != 0)
    bar, at = np.unique(time_ms[1:][inside] // BAR_MS, return_inverse=True)
    signed = np.bincount(at, weights=sign[inside], minlength=len(bar)).astype(np.int64)
    total = np.bincount(at, minlength=len(bar))
    return [(bar * BAR_MS).tolist(), signed.tolist(), total.tolist()]

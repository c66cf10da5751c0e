"""Order flow and spreads out of a terminal's ticks: the tick rule on the mid price, summed per five minutes."""

from typing import Any

import numpy as np

BAR_MS = 300_000


def sum_flow(ticks: Any, from_ms: int, to_ms: int) -> list[list[Any]]:
    """Sum signed ticks per bar over ``[from_ms, to_ms)``, server time.

    ``ticks`` is the vendor's structured array, oldest first; rows before ``from_ms`` serve as predecessors.
    Returns ``[times, signed, total, spread]``: the bars' opening times, up-ticks minus down-ticks of the mid price, the
    ticks that moved it, and the median spread (price difference) without zeros, 0 when there is none. Quotes that are
    not finite, not positive or crossed are left out.
    """
    bid, ask, time_ms = ticks["bid"], ticks["ask"], ticks["time_msc"].astype(np.int64)
    sound = np.isfinite(bid) & np.isfinite(ask) & (bid > 0) & (ask >= bid)
    bid, ask, time_ms = bid[sound], ask[sound], time_ms[sound]
    sign = np.sign(np.diff((bid + ask) / 2))
    within = (time_ms >= from_ms) & (time_ms < to_ms)
    moved = within[1:] & (sign != 0)
    bar, at = np.unique(time_ms[1:][moved] // BAR_MS, return_inverse=True)
    signed = np.bincount(at, weights=sign[moved], minlength=len(bar)).astype(np.int64)
    total = np.bincount(at, minlength=len(bar))
    spread = _median_spreads(bar, time_ms[within] // BAR_MS, (ask - bid)[within])
    return [(bar * BAR_MS).tolist(), signed.tolist(), total.tolist(), spread.tolist()]


def _median_spreads(wanted: Any, bar: Any, spread: Any) -> Any:
    """Return the (lower) median spread of each wanted bar's quotes."""
    bar, spread = bar[spread > 0], spread[spread > 0]
    order = np.lexsort((spread, bar))
    found, first, counts = np.unique(bar[order], return_index=True, return_counts=True)
    medians = np.zeros(len(wanted))
    _, here, there = np.intersect1d(wanted, found, return_indices=True)
    medians[here] = spread[order][first[there] + (counts[there] - 1) // 2]
    return medians

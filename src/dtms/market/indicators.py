"""Indicators as functions from arrays ``(n,)`` to arrays ``(n,)``, NaN where undefined.

Conventions are TA-Lib's. Every recursive average is seeded with the simple mean of its first ``period`` values (ATR:
true ranges from the second bar on; RSI: the first ``period`` changes), stands at that row first, and recurs from
there. MACD's fast average is seeded with the values that end where the slow one's seed ends. The one departure: the
RSI of a market that has not moved is 50 and not 0, so that a mirrored market mirrors it.

Recursions are cumulative sums scaled by powers of the decay, in blocks short enough to stay within a float's range.
Prices are centred on the first value, so a flat market gives exact zeros and large prices lose no digits.
"""

from functools import lru_cache
from math import log

import numpy as np

from dtms.domain.market import Floats, Ints

_EXPONENT_MAX = 200.0
"""Natural logarithm of the largest scale within a block."""


@lru_cache(maxsize=64)
def _powers(keep: float, count: int) -> tuple[Floats, Floats]:
    """Return ``keep ** k`` and ``keep ** -k`` for k from 0 to ``count`` - 1."""
    powers = keep ** np.arange(count, dtype=np.float64)
    inverse = 1.0 / powers
    powers.flags.writeable = inverse.flags.writeable = False
    return powers, inverse


def _recur(values: Floats, keep: float, seed: float) -> Floats:
    """Return ``y[t] = keep · y[t-1] + (1 - keep) · values[t]`` with ``seed`` before the first row."""
    count = len(values)
    block = min(count, int(_EXPONENT_MAX / -log(keep))) if 0.0 < keep < 1.0 else 0
    if block == 0:
        return values.copy()  # a period of 1 keeps nothing
    powers, inverse = _powers(keep, block)
    result = np.empty(count)
    for start in range(0, count, block):
        part = values[start : start + block]
        sums = np.cumsum(part * inverse[: len(part)])
        sums *= 1.0 - keep
        sums += keep * seed
        sums *= powers[: len(part)]
        result[start : start + len(part)] = sums
        seed = float(sums[-1])
    return result


def _smooth(values: Floats, period: int, keep: float, first: int = 0) -> Floats:
    """Average ``values`` recursively, seeded with the mean of the ``period`` values from row ``first`` on."""
    result = np.full(len(values), np.nan)
    head = first + period
    if len(values) < head:
        return result
    seed = float(values[first:head].sum()) / period
    result[head - 1] = seed
    if len(values) > head:
        result[head:] = _recur(values[head:], keep, seed)
    return result


def wilder(values: Floats, period: int, first: int = 0) -> Floats:
    """Average as Wilder does: each new value weighs 1 / ``period``."""
    return _smooth(values, period, (period - 1) / period, first)


def ema(values: Floats, period: int, first: int = 0) -> Floats:
    """Average exponentially: each new value weighs 2 / (``period`` + 1)."""
    if len(values) == 0:
        return np.empty(0)
    reference = float(values[0])
    result = _smooth(values - reference, period, 1.0 - 2.0 / (period + 1), first)
    result += reference
    return result


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the span of each bar including the gap from the close before; the first bar has none but its own span."""
    upper, lower = high.copy(), low.copy()
    np.maximum(high[1:], close[:-1], out=upper[1:])
    np.minimum(low[1:], close[:-1], out=lower[1:])
    return np.subtract(upper, lower)


def atr(high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    """Return the average true range (Wilder), a price difference; defined from row ``period`` on."""
    return wilder(true_range(high, low, close), period, first=1)


def rsi_balance(close: Floats, period: int) -> Floats:
    """Return (gains − losses) / (gains + losses), both averaged as Wilder does, in -1 to 1; RSI is 50 + 50 · this.

    Mirrors exactly: a mirrored market has the negative of it. A market that has not moved has 0.
    """
    result = np.full(len(close), np.nan)
    if len(close) <= period:
        return result
    change = np.diff(close)
    net, total = wilder(change, period)[period - 1 :], wilder(np.abs(change), period)[period - 1 :]
    result[period:] = np.divide(net, total, out=np.zeros_like(net), where=total > 0.0)
    return result


def rsi(close: Floats, period: int) -> Floats:
    """Return the relative strength index (Wilder), 0 to 100; defined from row ``period`` on."""
    return 50.0 + 50.0 * rsi_balance(close, period)


def macd(close: Floats, fast: int, slow: int, signal: int) -> tuple[Floats, Floats, Floats]:
    """Return MACD line, signal and histogram, price differences; all defined from row ``slow + signal - 2`` on."""
    if len(close) == 0:
        return np.empty(0), np.empty(0), np.empty(0)
    centred = close - close[0]
    line = ema(centred, fast, slow - fast)
    line -= ema(centred, slow)
    average = ema(line[slow - 1 :], signal)
    signals = np.full(len(close), np.nan)
    signals[len(close) - len(average) :] = average
    line[np.isnan(signals)] = np.nan
    return line, signals, line - signals


def bollinger_width(close: Floats, period: int, sigmas: float) -> Floats:
    """Return upper minus lower band, a price difference (twice ``sigmas`` population deviations)."""
    result = np.full(len(close), np.nan)
    if len(close) >= period:
        windows = np.lib.stride_tricks.sliding_window_view(close, period)
        spread = windows - (windows.sum(axis=1) / period)[:, None]
        result[period - 1 :] = 2.0 * sigmas * np.sqrt((spread * spread).sum(axis=1) / period)
    return result


def vwap(time_ms: Ints, typical: Floats, volume: Floats, *, bar_ms: int, span_ms: int) -> Floats:
    """Return the volume-weighted mean of ``typical`` over the bars opened in the ``span_ms`` before each bar's close.

    Spans whose volume is zero throughout (volume unknown) weigh every bar alike.
    """
    if len(typical) == 0:
        return np.empty(0)
    reference = float(typical[0])
    centred = typical - reference
    start = np.searchsorted(time_ms, time_ms + (bar_ms - span_ms))
    weighed, volumes = _span_sums(centred * volume, start), _span_sums(volume, start)
    if not volumes.all():
        unknown = volumes == 0.0
        weighed[unknown] = _span_sums(centred, start)[unknown]
        volumes[unknown] = (np.arange(1, len(start) + 1) - start)[unknown]
    weighed /= volumes
    weighed += reference
    return weighed


def _span_sums(values: Floats, start: Ints) -> Floats:
    """Sum ``values`` from row ``start[i]`` to row i."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums[1:] - sums[start]

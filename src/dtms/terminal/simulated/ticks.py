"""Ticks inside recorded bars: a path from open to close that touches high and low and never leaves them.

A bar holds no record of what happened inside it, so the path is drawn, always the same for the same bar: a random
walk, seeded by symbol and time alone, bent through four knots: open, the nearer extreme, the farther extreme, close.
Minutes inside longer bars are cut from the same path, so every timeframe agrees with the recorded bar.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A quote every three seconds: fewer would make the step between two quotes, which a stop may slip by, unlike a market.
TICKS_PER_MINUTE = 20
MINUTE_MS = 60_000
# The first quote of a minute arrives within its first second, as in a live market.
FIRST_TICK_WITHIN_MS = 900
# A walk of n steps spans about 1.6 standard deviations of its end; the uniform step has 1/sqrt(3) of its width.
STEP_SHARE = 1.08

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Columns of bars: opening times in UTC ms, bid prices and spread in points."""

    ms: Int64s
    open: Int64s
    high: Int64s
    low: Int64s
    close: Int64s
    volume: Int64s
    spread_points: Int64s

    def __len__(self) -> int:
        return len(self.ms)

    def slice(self, start: int, stop: int) -> "Bars":
        """Give the bars from `start` up to, not including, `stop`."""
        return Bars(
            ms=self.ms[start:stop],
            open=self.open[start:stop],
            high=self.high[start:stop],
            low=self.low[start:stop],
            close=self.close[start:stop],
            volume=self.volume[start:stop],
            spread_points=self.spread_points[start:stop],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TickBlock:
    """A stretch of ticks (UTC ms, points), and the minutes they make; `first` is each minute's first tick.

    `bids` and `asks` are the lowest and the highest of the stretch.
    """

    ms: Int64s
    bid: Int64s
    ask: Int64s
    minutes: Bars
    first: Int64s
    bids: tuple[int, int] = field(init=False)
    asks: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        for name, prices in (("bids", self.bid), ("asks", self.ask)):
            reach = (int(prices.min()), int(prices.max())) if len(prices) else (0, 0)
            object.__setattr__(self, name, reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRule:
    """How the spread is drawn: `wide` says per minute (bars x minutes) whether it is a reopening or the rollover."""

    typical_points: int
    wide_factor: int
    wide: NDArray[np.bool_]


def symbol_salt(symbol: str) -> int:
    """Give a 64-bit number that is the symbol's own (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in symbol.encode():
        value = ((value ^ byte) * 0x100000001B3) % (1 << 64)
    return value


def noise(ms: Int64s, salt: int, stream: int, count: int) -> Floats:
    """Give `count` numbers in [0, 1) for each time, depending on nothing else (splitmix64)."""
    key = ms.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    lane = (np.arange(count, dtype=np.uint64) + np.uint64(stream << 20)) * np.uint64(0xD1B54A32D192ED03)
    x = key + lane[None, :] + np.uint64(salt)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def draw_block(bars: Bars, minutes: int, salt: int, rule: SpreadRule) -> TickBlock:
    """Draw the ticks of bars that each last `minutes`."""
    bid = bid_path(bars, minutes * TICKS_PER_MINUTE, salt)
    starts = (bars.ms[:, None] + np.arange(minutes, dtype=np.int64)[None, :] * MINUTE_MS).ravel()
    by_minute = bid.reshape(-1, TICKS_PER_MINUTE)
    spread = np.repeat(bars.spread_points, minutes)
    made = Bars(
        ms=starts,
        open=by_minute[:, 0],
        high=by_minute.max(axis=1),
        low=by_minute.min(axis=1),
        close=by_minute[:, -1],
        volume=split_volume(bars, minutes, salt),
        spread_points=spread,
    )
    ask = bid.ravel() + _tick_spread(starts, spread, rule, salt).ravel()
    first = np.arange(len(starts), dtype=np.int64) * TICKS_PER_MINUTE
    return TickBlock(ms=_tick_times(starts, salt).ravel(), bid=bid.ravel(), ask=ask, minutes=made, first=first)


def bid_path(bars: Bars, count: int, salt: int) -> Int64s:
    """Draw `count` bids per bar, in points (bars x count)."""
    rows = np.arange(len(bars))
    high, low = bars.high, bars.low
    pick = noise(bars.ms, salt, 1, 3)
    up_first = (high - bars.open < bars.open - low) | ((high - bars.open == bars.open - low) & (pick[:, 0] < 0.5))
    half = count // 2
    at_one = 1 + (pick[:, 1] * (half - 1)).astype(np.int64)
    at_two = half + (pick[:, 2] * (count - 1 - half)).astype(np.int64)
    one, two = np.where(up_first, high, low), np.where(up_first, low, high)
    walk = _walk(bars, count, salt)
    bent = walk + _bend(walk, (bars.open, one, two, bars.close), (at_one, at_two))
    path = np.rint(_fold(bent, low[:, None], high[:, None])).astype(np.int64)
    np.clip(path, low[:, None], high[:, None], out=path)
    path[:, 0], path[:, -1] = bars.open, bars.close
    path[rows, at_one], path[rows, at_two] = one, two
    return path


def _walk(bars: Bars, count: int, salt: int) -> Floats:
    width = (bars.high - bars.low)[:, None] * (STEP_SHARE / np.sqrt(count))
    return np.asarray(np.cumsum((noise(bars.ms, salt, 2, count) * 2.0 - 1.0) * width, axis=1))


def _bend(walk: Floats, knots: tuple[Int64s, Int64s, Int64s, Int64s], at: tuple[Int64s, Int64s]) -> Floats:
    """Give what must be added to a walk, piecewise linear, to lead it through the knots."""
    rows, last = np.arange(len(walk)), walk.shape[1] - 1
    j = np.arange(walk.shape[1])[None, :]
    a, b = at[0][:, None], at[1][:, None]
    r0 = (knots[0] - walk[:, 0])[:, None]
    r1 = (knots[1] - walk[rows, at[0]])[:, None]
    r2 = (knots[2] - walk[rows, at[1]])[:, None]
    r3 = (knots[3] - walk[:, last])[:, None]
    leg_one = r0 + (r1 - r0) * (j / a)
    leg_two = r1 + (r2 - r1) * ((j - a) / (b - a))
    leg_three = r2 + (r3 - r2) * ((j - b) / (last - b))
    return np.where(j < a, leg_one, np.where(j < b, leg_two, leg_three))


def _fold(path: Floats, low: Int64s, high: Int64s) -> Floats:
    """Reflect a path at low and high until it lies between them."""
    span = np.maximum(high - low, 1).astype(np.float64)
    inside = np.mod(path - low, 2 * span)
    return np.asarray(low + np.where(inside > span, 2 * span - inside, inside))


def split_volume(bars: Bars, minutes: int, salt: int) -> Int64s:
    """Share each bar's tick volume among its minutes, in whole ticks that sum to it exactly."""
    if minutes == 1:
        return bars.volume
    weights = np.cumsum(noise(bars.ms, salt, 3, minutes) + 0.5, axis=1)
    upto = np.floor(weights / weights[:, -1:] * bars.volume[:, None]).astype(np.int64)
    upto[:, -1] = bars.volume
    return np.diff(upto, axis=1, prepend=0).ravel()


def _tick_times(starts: Int64s, salt: int) -> Int64s:
    slot_ms = MINUTE_MS // TICKS_PER_MINUTE
    reach = np.full(TICKS_PER_MINUTE, slot_ms, dtype=np.float64)
    reach[0] = FIRST_TICK_WITHIN_MS
    late = (noise(starts, salt, 4, TICKS_PER_MINUTE) * reach[None, :]).astype(np.int64)
    return np.asarray(starts[:, None] + np.arange(TICKS_PER_MINUTE, dtype=np.int64)[None, :] * slot_ms + late)


def _tick_spread(starts: Int64s, spread: Int64s, rule: SpreadRule, salt: int) -> Int64s:
    """Draw spreads of at least the bar's own, up to a quarter wider; wide minutes at least the wide factor."""
    wide = np.where(rule.wide.ravel(), rule.typical_points * rule.wide_factor, 0)
    base = np.maximum(spread, wide)[:, None]
    extra = (noise(starts, salt, 5, TICKS_PER_MINUTE) * (base // 4 + 1)).astype(np.int64)
    return np.asarray(base + extra)

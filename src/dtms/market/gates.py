"""What makes a trailing stop keep a wider distance: squeeze, disagreeing timeframes, a stretched price, a volume node.

| gate | holds when |
| --- | --- |
| squeeze | the Bollinger bands of M15 lie inside the Keltner channel (J. Carter, "Mastering the Trade": TTM squeeze) |
| timeframes disagree | the averages EMA50 of M5 and M15 move in opposite directions |
| stretched | the close is more than 2 deviations from EMA200 of M15: the root mean square distance of as many closes |
| volume node | a price of the last day with much volume lies within 0.2 ATR: a peak of the M5 bars' volume profile |

Band and channel share their middle here, the simple mean, so that a squeeze is a comparison of two widths. All is read
from closed bars, out of windows that are cut here: a longer history changes nothing, and no later bar can enter.
"""

from dataclasses import dataclass

import numpy as np

from dtms.domain.market import Bars, Floats, Timeframe
from dtms.market import indicators
from dtms.market.bars import BarBook
from dtms.settings import ExitSettings, Settings

WINDOW = 600
"""Bars of each timeframe that gates are read from, at most."""
_BINS_MAX = 400


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


def read_gates(m5: Bars, m15: Bars, settings: Settings) -> Gates | None:
    """Read the gates at the close of the newest M5 bar; None while bars are too few, or the market has not moved."""
    rules, period = settings.exits, settings.regime.atr_period
    window5, window15 = _windows(m5, m15)
    if min(len(window5), len(window15)) < _bars_needed(rules, period):
        return None
    atr5, atr15 = _atr(window5, period), _atr(window15, period)
    if not (atr5 > 0.0 and atr15 > 0.0):
        return None
    directions = [_direction(bars, atr, rules) for bars, atr in ((window5, atr5), (window15, atr15))]
    return Gates(
        close_ms=m5.last_close_ms,
        is_squeezed=_is_squeezed(window15, rules),
        timeframes_disagree=directions[0] * directions[1] < 0,
        stretch_sigma=_stretch(window15.close, float(window5.close[-1]), rules.stretch_ema),
        node_distance_atr=_node_distance(window5, atr15, rules),
    )


def _windows(m5: Bars, m15: Bars) -> tuple[Bars, Bars]:
    """Cut the newest windows that were closed when the newest M5 bar closed."""
    closed = int(np.searchsorted(m15.time_ms, m5.last_close_ms - Timeframe.M15.ms, side="right"))
    return m5[-WINDOW:], m15[max(0, closed - WINDOW) : closed]


def _bars_needed(rules: ExitSettings, atr_period: int) -> int:
    return max(rules.squeeze_bars, atr_period, rules.direction_ema + rules.direction_bars) + 1


def _atr(bars: Bars, period: int) -> float:
    return float(indicators.atr(bars.high, bars.low, bars.close, period)[-1])


def _is_squeezed(bars: Bars, rules: ExitSettings) -> bool:
    """Compare half the band's width with half the channel's."""
    band = float(indicators.bollinger_width(bars.close[-rules.squeeze_bars :], rules.squeeze_bars, 1.0)[-1]) / 2.0
    return rules.squeeze_sigma * band < rules.squeeze_atr * _atr(bars, rules.squeeze_bars)


def _direction(bars: Bars, atr: float, rules: ExitSettings) -> int:
    """Return 1 or -1 by the way the average went over the last bars, 0 when it hardly moved."""
    average = indicators.ema(bars.close, rules.direction_ema)
    slope_atr = float(average[-1] - average[-1 - rules.direction_bars]) / rules.direction_bars / atr
    return 0 if abs(slope_atr) < rules.direction_slope_atr else 1 if slope_atr > 0.0 else -1


def _stretch(close: Floats, now: float, period: int) -> float | None:
    """Return how far ``now`` is from the average, in deviations of the last ``period`` closes from theirs.

    None before as many closes have an average that has itself seen a whole period.
    """
    if len(close) < 2 * period:
        return None
    average = indicators.ema(close, period)
    away = close[-period:] - average[-period:]
    deviation = float(np.sqrt(np.mean(away * away)))
    return (now - float(average[-1])) / deviation if deviation > 0.0 else None


# --- the volume profile ----------------------------------------------------------------------------------------------


def _node_distance(bars: Bars, atr: float, rules: ExitSettings) -> float | None:
    """Return how far the newest close is from the nearest node, in ATR; None where no price stands out."""
    newest = bars[int(np.searchsorted(bars.time_ms, bars.last_close_ms - int(rules.node_hours * 3_600_000))) :]
    nodes = volume_nodes(newest, rules.node_bin_atr * atr, rules.node_factor)
    return float(np.abs(nodes - bars.close[-1]).min()) / atr if len(nodes) else None


def volume_nodes(bars: Bars, bin_width: float, factor: float) -> Floats:
    """Return the prices at which volume peaks, at least ``factor`` times the mean of all prices between high and low.

    Each bar's tick volume is spread evenly over its range; where volume is not known at all, bars weigh alike.
    """
    low, high = float(bars.low.min()), float(bars.high.max())
    count = min(_BINS_MAX, max(1, int(np.ceil((high - low) / bin_width))))
    edges = np.linspace(low, high, count + 1)
    profile = _smoothed(_profile(bars, edges))
    higher = np.concatenate(([0.0], profile, [0.0]))
    is_peak = (profile >= higher[:-2]) & (profile >= higher[2:]) & (profile >= factor * profile.mean())
    prices: Floats = ((edges[:-1] + edges[1:]) / 2.0)[is_peak]
    return prices


def _profile(bars: Bars, edges: Floats) -> Floats:
    """Sum each bar's volume into the bins that it overlaps; a bar narrower than a bin counts as wide as one."""
    volume = bars.volume if bars.volume.any() else np.ones(len(bars))
    middle = (bars.high + bars.low) / 2.0
    half = np.maximum(bars.high - bars.low, edges[1] - edges[0]) / 2.0
    half = np.where(half > 0.0, half, 1.0)  # a market that stood still has one bin of no width
    upper, lower = (middle + half)[:, None], (middle - half)[:, None]
    overlap = np.minimum(upper, edges[1:]) - np.maximum(lower, edges[:-1])
    profile: Floats = (np.clip(overlap, 0.0, None) * (volume / half)[:, None]).sum(axis=0)
    return profile


def _smoothed(profile: Floats) -> Floats:
    """Average over three bins, so that a single bar's edge makes no peak."""
    padded = np.concatenate((profile[:1], profile, profile[-1:]))
    smooth: Floats = (padded[:-2] + 2.0 * padded[1:-1] + padded[2:]) / 4.0
    return smooth


class GatesBook:
    """The newest gates of one symbol, read once per closed bar; changes no result."""

    def __init__(self) -> None:
        self._known: tuple[Bars, Bars, Settings, Gates | None] | None = None

    def read(self, m5: Bars, m15: Bars, settings: Settings) -> Gates | None:
        """Return the gates of these bars, read anew when a bar, a late correction or other settings changed them."""
        window5, window15 = _windows(m5, m15)
        known = self._known
        if known is None or known[2] is not settings or not (_same(known[0], window5) and _same(known[1], window15)):
            known = self._known = window5, window15, settings, read_gates(window5, window15, settings)
        return known[3]

    def fresh(self, book: BarBook, now_ms: int, settings: Settings) -> Gates | None:
        """Return the gates while bars of both timeframes are new enough, as ``BarBook`` judges them."""
        stale_s = settings.cadence.stale_s
        if any(book.stale_on(tf, now_ms, stale_s) for tf in (Timeframe.M5, Timeframe.M15)):
            return None
        return self.read(book.m5(), book.m15(), settings)


def _same(a: Bars, b: Bars) -> bool:
    columns = ((a.time_ms, b.time_ms), (a.close, b.close), (a.high, b.high), (a.low, b.low), (a.volume, b.volume))
    return all(np.array_equal(x, y) for x, y in columns)

"""What trailing stops hang on: ATR with its baseline, confirmed swings and the last impulse, per timeframe.

Read from closed bars alone, and from a window that is cut here: a longer history changes nothing, and no bar from the
future can enter. A swing is that of ``structure.py``: it exists from the close of its last confirming bar on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dtms.domain.market import Bars, Floats, Side, Timeframe
from dtms.market import indicators
from dtms.market.bars import BarBook
from dtms.market.structure import swing_rows
from dtms.settings import Settings

WINDOW = 600
"""Bars that levels are read from, at most."""
SWINGS_KEPT = 20
"""Of each kind, the newest: as many as the longest look-back of a trailing stop."""


@dataclass(frozen=True, slots=True)
class Swing:
    """A confirmed swing's price, and when its confirming bar closed (UTC ms)."""

    price: float
    confirmed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Impulse:
    """A fast move over some bars; ``origin`` is the far end of its first candle, ``begun_ms`` that one's opening."""

    side: Side
    origin: float
    begun_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Read at ``close_ms`` (UTC), the close of the newest bar; all prices, ATRs as price differences."""

    symbol: str
    timeframe: Timeframe
    close_ms: int
    close: float
    atr: float
    """ATR(14)."""
    atr_baseline: float
    """The usual ATR(14) on the same timeframe: its mean over the last ``universal.baseline_bars`` bars."""
    swing_lows: tuple[Swing, ...]
    """Oldest first."""
    swing_highs: tuple[Swing, ...]
    impulse: Impulse | None = None


Readings = dict[Timeframe, Levels]


def bars_needed(settings: Settings) -> int:
    """Return how many closed bars levels need at least: those that define ATR and its baseline."""
    return settings.regime.atr_period + settings.universal.baseline_bars


def read_levels(bars: Bars, settings: Settings) -> Levels | None:
    """Read the levels at the close of the newest bar; None while bars are too few, or the market has not moved."""
    if len(bars) < bars_needed(settings):
        return None
    window = bars[-WINDOW:]
    atr = indicators.atr(window.high, window.low, window.close, settings.regime.atr_period)
    baseline = float(atr[-settings.universal.baseline_bars :].mean())
    if not atr[-1] > 0.0:
        return None
    side_bars = settings.score.swing_side_bars
    return Levels(
        symbol=window.symbol,
        timeframe=window.timeframe,
        close_ms=window.last_close_ms,
        close=float(window.close[-1]),
        atr=float(atr[-1]),
        atr_baseline=baseline,
        swing_lows=_swings(window, -window.low, side_bars, Side.LONG),
        swing_highs=_swings(window, window.high, side_bars, Side.SHORT),
        impulse=_impulse(window, settings.universal.impulse_bars, settings.universal.impulse_range),
    )


def _swings(bars: Bars, extremes: Floats, side_bars: int, protects: Side) -> tuple[Swing, ...]:
    """Find the newest swings; lows come negated, and protect long positions."""
    rows = swing_rows(extremes, side_bars)[-SWINGS_KEPT:]
    prices = (-protects.sign * extremes[rows]).tolist()
    confirmed = (bars.time_ms[rows + side_bars] + bars.timeframe.ms).tolist()
    return tuple(Swing(price, at_ms) for price, at_ms in zip(prices, confirmed, strict=True))


def _impulse(bars: Bars, count: int, factor: float) -> Impulse | None:
    """Return the impulse of the last ``count`` bars: from the first's open to the last's close, ``factor`` × as far
    as those bars are wide in the mean; None when the market went less far."""
    part = bars[-count:]
    moved = float(part.close[-1] - part.open[0])
    width = float((part.high - part.low).mean())
    if not abs(moved) >= factor * width > 0.0:
        return None
    side = Side.LONG if moved > 0.0 else Side.SHORT
    origin = part.low[0] if side is Side.LONG else part.high[0]
    return Impulse(side=side, origin=float(origin), begun_ms=int(part.time_ms[0]))


class LevelsBook:
    """The newest levels of one symbol, read once per timeframe and closed bar; changes no result."""

    def __init__(self) -> None:
        self._known: dict[Timeframe, tuple[Bars, Levels | None]] = {}
        self._settings: Settings | None = None

    def read(self, bars: Bars, settings: Settings) -> Levels | None:
        """Return the levels of these bars, read anew when a bar, a late correction or other settings changed them."""
        if settings is not self._settings:
            self._known, self._settings = {}, settings
        window = bars[-WINDOW:]
        known = self._known.get(bars.timeframe)
        if known is None or not _same(known[0], window):
            known = self._known[bars.timeframe] = window, read_levels(window, settings)
        return known[1]

    def fresh(self, book: BarBook, timeframes: Iterable[Timeframe], now_ms: int, settings: Settings) -> Readings:
        """Return the levels of each timeframe whose bars are many and new enough, as ``BarBook`` judges them."""
        stale_s = settings.cadence.stale_s
        usable = (tf for tf in timeframes if book.stale_on(tf, now_ms, stale_s) is None)
        read = ((tf, self.read(book.bars(tf), settings)) for tf in usable)
        return {tf: levels for tf, levels in read if levels is not None}


def _same(a: Bars, b: Bars) -> bool:
    columns = ((a.time_ms, b.time_ms), (a.close, b.close), (a.high, b.high), (a.low, b.low), (a.open, b.open))
    return all(np.array_equal(x, y) for x, y in columns)

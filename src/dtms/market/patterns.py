"""What the closed bars of one symbol and timeframe show to those who wait for it, each pattern read at first need.

Everything is a function of the newest ``PATTERN_BARS`` bars, so that a longer history changes nothing and what was read
before a restart is read again after it. A reading stands until the next bar closes (``PatternBook``), and serves all
who wait for the symbol. What the bars are too few for is None, or an empty list.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dtms.domain.market import Bars, Floats, Side, Timeframe
from dtms.market import candle_shapes, indicators, liquidity, zones
from dtms.market.bands import Averages, BandWidth, VwapDistance, averages, band_width, vwap_distance
from dtms.market.regime import mean_ratio
from dtms.market.seen_from import seen_from
from dtms.market.structure import Break, BreakKind, find_breaks
from dtms.settings import Settings

PATTERN_BARS = 600
VOLUME_BARS = 20
POOL_BARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBreak:
    """A break of structure, how many bars ago it was (0: the newest), and whether a bar closed back since."""

    kind: BreakKind
    side: Side
    level: float
    age_bars: int
    undone: bool


class Patterns:
    """The patterns at the close of one bar. Nothing of it changes; what was read once is kept."""

    def __init__(self, bars: Bars, settings: Settings) -> None:
        self.bars = bars[-PATTERN_BARS:]
        self._settings = settings
        self._rsi: dict[int, float | None] = {}
        self._gaps: dict[Side, tuple[zones.Gap, ...]] = {}
        self._blocks: dict[Side, tuple[zones.OrderBlock, ...]] = {}
        self._sweeps: dict[Side, tuple[liquidity.Sweep, ...]] = {}
        self._pools: dict[tuple[Side, float], liquidity.Pool | None] = {}

    @property
    def timeframe(self) -> Timeframe:
        return self.bars.timeframe

    @cached_property
    def close_ms(self) -> int:
        """When the newest bar closed (UTC); 0 without bars."""
        return self.bars.last_close_ms

    @cached_property
    def _atrs(self) -> Floats:
        bars = self.bars
        return indicators.atr(bars.high, bars.low, bars.close, self._settings.regime.atr_period)

    @cached_property
    def atr(self) -> float | None:
        """The average true range, a price difference; None also for a market that stands still."""
        return float(self._atrs[-1]) if len(self._atrs) and self._atrs[-1] > 0.0 else None

    @cached_property
    def atr_ratio(self) -> float | None:
        """The average true range over its mean of the regime's span."""
        period, count = self._settings.regime.atr_period, self._settings.regime.volatility_bars
        return mean_ratio(self._atrs, count) if len(self.bars) >= period + count and self.atr is not None else None

    def rsi(self, period: int) -> float | None:
        """Return the relative strength index, 0 to 100."""
        if period not in self._rsi:
            known = len(self.bars) > period
            self._rsi[period] = float(indicators.rsi(self.bars.close, period)[-1]) if known else None
        return self._rsi[period]

    @cached_property
    def averages(self) -> Averages | None:
        return averages(self.bars)

    @cached_property
    def width(self) -> BandWidth | None:
        return band_width(self.bars, self._settings.regime)

    @cached_property
    def vwap(self) -> VwapDistance | None:
        return vwap_distance(self.bars, self._settings.score.vwap_hours)

    @cached_property
    def volume_ratio(self) -> float | None:
        return candle_shapes.volume_ratio(self.bars, VOLUME_BARS)

    @cached_property
    def is_inside(self) -> bool | None:
        return candle_shapes.is_inside(self.bars)

    def wick_ratio(self, side: Side) -> float | None:
        """Return the newest bar's tail against ``side`` over its body."""
        return candle_shapes.wick_ratio(self.bars, side)

    @cached_property
    def _events(self) -> tuple[Break, ...]:
        rules = self._settings.score
        found, _ = find_breaks(
            self.bars,
            self._atrs,
            side_bars=rules.swing_side_bars,
            margin_atr=rules.break_atr,
            newest_bars=PATTERN_BARS,
        )
        return found

    @cached_property
    def breaks(self) -> tuple[SeenBreak, ...]:
        """The breaks of structure, newest first."""
        rows = np.searchsorted(self.bars.time_ms, [e.close_ms - self.timeframe.ms for e in self._events])
        seen = [self._seen(event, row) for event, row in zip(self._events, rows.tolist(), strict=True)]
        return tuple(reversed(seen))

    def _seen(self, event: Break, row: int) -> SeenBreak:
        back = (self.bars.close[row + 1 :] - event.level) * event.side.sign < 0.0
        return SeenBreak(
            kind=event.kind,
            side=event.side,
            level=event.level,
            age_bars=len(self.bars) - 1 - row,
            undone=bool(back.any()),
        )

    def gaps(self, side: Side) -> tuple[zones.Gap, ...]:
        """Return the fair value gaps that are not filled yet, newest first."""
        if side not in self._gaps:
            self._gaps[side] = zones.live_gaps(self.bars, self._atrs, side)
        return self._gaps[side]

    def blocks(self, side: Side) -> tuple[zones.OrderBlock, ...]:
        """Return the order blocks that stand, newest first."""
        if side not in self._blocks:
            self._blocks[side] = zones.live_blocks(self.bars, self._events, side)
        return self._blocks[side]

    def sweeps(self, side: Side) -> tuple[liquidity.Sweep, ...]:
        """Return the sweeps of liquidity that favour ``side``, newest first."""
        if side not in self._sweeps:
            self._sweeps[side] = liquidity.sweeps(self.bars, side, self._settings.score.swing_side_bars)
        return self._sweeps[side]

    def pool(self, of: Side, tolerance_atr: float) -> liquidity.Pool | None:
        """Return the largest pool of equal highs (``of`` LONG) or lows (SHORT); None without one, or without an ATR."""
        key = (of, tolerance_atr)
        if key not in self._pools:
            self._pools[key] = self._read_pool(of, tolerance_atr)
        return self._pools[key]

    def _read_pool(self, of: Side, tolerance_atr: float) -> liquidity.Pool | None:
        if self.atr is None:
            return None
        side_bars = self._settings.score.swing_side_bars
        pool = liquidity.equal_highs(seen_from(self.bars, of), side_bars, tolerance_atr * self.atr, POOL_BARS)
        return liquidity.Pool(of.sign * pool.level, pool.count) if pool is not None else None


class PatternBook:
    """Keeps one symbol's readings, so that each is made once per closed bar; changes no result."""

    def __init__(self) -> None:
        self._kept: dict[Timeframe, Patterns] = {}
        self._settings: Settings | None = None

    def of(self, bars: Bars, settings: Settings) -> Patterns:
        """Return the patterns of ``bars``, read anew only when a bar or the settings changed."""
        if settings is not self._settings:
            self._kept, self._settings = {}, settings
        known = self._kept.get(bars.timeframe)
        if known is None or not _same(known.bars, bars[-PATTERN_BARS:]):
            known = self._kept[bars.timeframe] = Patterns(bars, settings)
        return known


def _same(a: Bars, b: Bars) -> bool:
    """Compare all that patterns are made of; equal times first, as they differ most often."""
    columns = ("time_ms", "close", "high", "low", "open", "volume")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)

"""The market view of one symbol: everything a decision needs to know about closed bars.

``evaluate`` is a pure function of the newest ``M5_WINDOW`` and ``M15_WINDOW`` bars that were closed when the newest M5
bar closed. It cuts them itself, so a longer history changes nothing: the view after a restart is the view before it,
and no bar from the future can enter.
"""

from dataclasses import dataclass

import numpy as np

from dtms.domain.errors import FeedStale
from dtms.domain.facts import Json
from dtms.domain.market import Bars, Floats, FlowBars, Side, Timeframe
from dtms.market import indicators
from dtms.market.layers import conviction, momentum, order_flow, structure, trend, vwap_volume
from dtms.market.reading import Layer, Reading
from dtms.market.regime import Regime, Volatility, mean_ratio, median_ratio, regime_of, volatility_of
from dtms.market.score import Score, factors_of, score
from dtms.market.structure import Break, LatestBreak, find_breaks
from dtms.settings import ScoreSettings, Settings

M5_WINDOW = 600
M15_WINDOW = 600
BREAK_BARS = 200
"""How far back breaks are listed, in bars of each timeframe."""
_SPARE_BARS = 8
"""M5 bars kept beyond the VWAP's span, for its slope and for the bars before the newest."""
_JSON_BREAKS = 6

Readings = dict[Layer, Reading | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What the market says of one symbol at ``m5_close_ms`` (UTC); prices and ATRs are price differences.

    ``flip`` is the side that the current VWAP flip favours. ``breaks`` are those of the last ``BREAK_BARS`` bars of M5
    and M15, oldest first. ``vwap`` is the 8-hour VWAP, ``slope_atr`` its slope in ATR(14, M15) per M5 bar.
    """

    symbol: str
    m5_close_ms: int
    m15_close_ms: int
    close: float
    atr_m15: float
    atr_m5: float
    regime: Regime
    vwap: float
    slope_atr: float
    slope_threshold_atr: float
    long: Score
    short: Score
    flip: Side | None
    breaks: tuple[Break, ...]

    def score(self, side: Side) -> Score:
        """Return the score of a trade of ``side``."""
        return self.long if side is Side.LONG else self.short

    def flip_against(self, side: Side) -> bool:
        """Tell whether a VWAP flip stands against a trade of ``side``."""
        return self.flip is side.opposite

    def as_json(self, side: Side) -> dict[str, Json]:
        """Return what is stored with a deep check: score, readings, regime, figures and the newest breaks."""
        return {
            **self.score(side).as_json(),
            "symbol": self.symbol,
            "regime": _regime_json(self.regime),
            "flip": self.flip.direction if self.flip else None,
            "figures": {
                "m5_close_ms": self.m5_close_ms,
                "m15_close_ms": self.m15_close_ms,
                "close": self.close,
                "atr_m15": self.atr_m15,
                "atr_m5": self.atr_m5,
                "vwap": self.vwap,
                "vwap_slope_atr": self.slope_atr,
                "vwap_slope_threshold_atr": self.slope_threshold_atr,
            },
            "breaks": [_break_json(b) for b in self.breaks[-_JSON_BREAKS:]],
        }


def _regime_json(regime: Regime) -> dict[str, Json]:
    return {
        "session": regime.session.value,
        "volatility": regime.volatility.value,
        "structure": regime.structure.value,
        "atr_ratio": regime.atr_ratio,
        "width_ratio": regime.width_ratio,
        "slope_factor": regime.slope_factor,
        "text": regime.text,
    }


def _break_json(event: Break) -> dict[str, Json]:
    return {
        "kind": event.kind.value,
        "direction": event.side.direction,
        "timeframe": event.timeframe.name,
        "close_ms": event.close_ms,
        "level": event.level,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class M15Part:
    """What the M15 bars alone say; it stands until the next one closes. ``bars`` is the window it was read from."""

    bars: Bars
    atr: float
    atr_ratio: float
    width_ratio: float
    breaks: tuple[Break, ...]
    latest: LatestBreak | None
    long: Readings
    short: Readings

    def readings(self, side: Side) -> Readings:
        """Return the readings of the M15 layers for ``side``."""
        return self.long if side is Side.LONG else self.short


@dataclass(frozen=True, slots=True, kw_only=True)
class M5Part:
    """What the M5 bars alone say, but for the VWAP's slope, which is measured in the ATR of M15."""

    close_ms: int
    close: float
    atr: float
    breaks: tuple[Break, ...]
    vwap: float
    vwap_change: float
    """Change of the VWAP per bar, a price difference."""
    beyond: Side | None
    volume_balance: float | None
    candles: tuple[conviction.Candle, ...]


class ViewCache:
    """Keeps the newest M15 part of one symbol, so that it is read once per closed M15 bar; changes no result."""

    def __init__(self) -> None:
        self._part: M15Part | None = None
        self._settings: Settings | None = None

    def m15_part(self, window: Bars, settings: Settings) -> M15Part:
        """Return the part of ``window``, read anew only when a bar or the settings changed."""
        if self._part is None or self._settings is not settings or not _same(self._part.bars, window):
            self._part, self._settings = read_m15(window, settings), settings
        return self._part


def _same(a: Bars, b: Bars) -> bool:
    """Compare what the M15 part is made of; equal times first, as they differ most often."""
    return all(
        np.array_equal(x, y) for x, y in ((a.time_ms, b.time_ms), (a.close, b.close), (a.high, b.high), (a.low, b.low))
    )


def m5_minimum(settings: Settings) -> int:
    """Return how many M5 bars a view needs at least."""
    return max(2 * settings.regime.atr_period, settings.score.opposite_share_bars + settings.score.vwap_slope_bars + 1)


def m15_minimum(settings: Settings) -> int:
    """Return how many M15 bars a view needs at least: those that define the regime."""
    regime = settings.regime
    return max(regime.atr_period + regime.volatility_bars, regime.bollinger_period + regime.structure_bars)


def evaluate(
    *, m5: Bars, m15: Bars, flow: FlowBars | None, settings: Settings, cache: ViewCache | None = None
) -> MarketView:
    """Read the market at the close of the newest M5 bar.

    Args:
        flow: signed ticks per M5 bar; None or empty leaves the order flow layer absent.
        cache: keeps the M15 part between calls for one symbol; the result is the same without it.

    Raises:
        FeedStale: fewer closed bars than the regime and the M5 layers need, or a market that has not moved at all.
    """
    window5, window15 = _windows(m5, m15, settings)
    part15 = cache.m15_part(window15, settings) if cache else read_m15(window15, settings)
    return _combine(read_m5(window5, settings), part15, flow, settings)


def _windows(m5: Bars, m15: Bars, settings: Settings) -> tuple[Bars, Bars]:
    """Cut the newest windows that were closed when the newest M5 bar closed."""
    closed = int(np.searchsorted(m15.time_ms, m5.last_close_ms - Timeframe.M15.ms, side="right"))
    for bars, known, needed in ((m5, len(m5), m5_minimum(settings)), (m15, closed, m15_minimum(settings))):
        if known < needed:
            raise FeedStale(f"{bars.symbol}: {known} closed {bars.timeframe.name} bars known, {needed} needed")
    return m5[-M5_WINDOW:], m15[max(0, closed - M15_WINDOW) : closed]


def read_m15(bars: Bars, settings: Settings) -> M15Part:
    """Read regime figures, breaks and the M15 layers of both sides from one window of M15 bars.

    Raises:
        FeedStale: the market has not moved at all.
    """
    regime, rules = settings.regime, settings.score
    atr = indicators.atr(bars.high, bars.low, bars.close, regime.atr_period)
    if not atr[-1] > 0.0:
        raise FeedStale(f"{bars.symbol}: no M15 bar has moved")
    width = indicators.bollinger_width(
        bars.close[-regime.bollinger_period - regime.structure_bars + 1 :],
        regime.bollinger_period,
        regime.bollinger_sigma,
    )
    breaks, latest = find_breaks(
        bars, atr, side_bars=rules.swing_side_bars, margin_atr=rules.break_atr, newest_bars=BREAK_BARS
    )
    atr_ratio = mean_ratio(atr, regime.volatility_bars)
    long, short = _m15_readings(bars, float(atr[-1]), latest, volatility_of(atr_ratio, regime), rules)
    return M15Part(
        bars=bars,
        atr=float(atr[-1]),
        atr_ratio=atr_ratio,
        width_ratio=median_ratio(width, regime.structure_bars),
        breaks=breaks,
        latest=latest,
        long=long,
        short=short,
    )


def _m15_readings(
    bars: Bars, atr: float, latest: LatestBreak | None, volatility: Volatility, rules: ScoreSettings
) -> tuple[Readings, Readings]:
    balance = indicators.rsi_balance(bars.close, rules.rsi_period)
    _, _, histogram = indicators.macd(bars.close, rules.macd_fast, rules.macd_slow, rules.macd_signal)
    fast = _slope_atr(bars, rules.ema_fast, rules.ema_slope_bars, atr)
    slow = _slope_atr(bars, rules.ema_slow, rules.ema_slope_bars, atr)

    def of(side: Side) -> Readings:
        return {
            Layer.STRUCTURE: structure.read(latest, side, rules),
            Layer.MOMENTUM: momentum.read(balance, histogram, side, volatility, rules),
            Layer.TREND: trend.read(fast, slow, side, rules),
        }

    return of(Side.LONG), of(Side.SHORT)


def _slope_atr(bars: Bars, period: int, over_bars: int, atr: float) -> float | None:
    """Return the slope of an EMA in ATR per bar; None where the average is undefined."""
    if len(bars) < period + over_bars:
        return None
    average = indicators.ema(bars.close, period)
    return float(average[-1] - average[-1 - over_bars]) / over_bars / atr


def read_m5(bars: Bars, settings: Settings) -> M5Part:
    """Read VWAP, breaks, volume and the newest candles from one window of M5 bars."""
    rules = settings.score
    atr = indicators.atr(bars.high, bars.low, bars.close, settings.regime.atr_period)
    breaks, _ = find_breaks(
        bars, atr, side_bars=rules.swing_side_bars, margin_atr=rules.break_atr, newest_bars=BREAK_BARS
    )
    vwap = _vwap(bars, rules.vwap_hours)
    change = float(vwap[-1] - vwap[-1 - rules.vwap_slope_bars]) / rules.vwap_slope_bars
    return M5Part(
        close_ms=bars.last_close_ms,
        close=float(bars.close[-1]),
        atr=float(atr[-1]),
        breaks=breaks,
        vwap=float(vwap[-1]),
        vwap_change=change,
        beyond=_beyond((bars.close[-rules.vwap_flip_closes :] - vwap[-rules.vwap_flip_closes :]).tolist()),
        volume_balance=_bar_balance(bars[-rules.opposite_share_bars :]),
        candles=_candles(bars, vwap, atr, len(rules.candle_weights)),
    )


def _vwap(bars: Bars, hours: float) -> Floats:
    """Return the rolling VWAP of the newest ``_SPARE_BARS`` bars."""
    span_ms = int(hours * 3_600_000)
    rows = span_ms // bars.timeframe.ms + _SPARE_BARS
    high, low, close = bars.high[-rows:], bars.low[-rows:], bars.close[-rows:]
    values = indicators.vwap(
        bars.time_ms[-rows:],
        (high + low + close) / 3.0,
        bars.volume[-rows:],
        bar_ms=bars.timeframe.ms,
        span_ms=span_ms,
    )
    return values[-_SPARE_BARS:]


def _beyond(distances: list[float]) -> Side | None:
    """Return the side of the VWAP on which all the closes lie, given their distances above it."""
    if all(d > 0.0 for d in distances):
        return Side.LONG
    return Side.SHORT if all(d < 0.0 for d in distances) else None


def _bar_balance(bars: Bars) -> float | None:
    """Return (up − down) / total tick volume by each bar's own direction; None without volume."""
    total = float(bars.volume.sum())
    return float((np.sign(bars.close - bars.open) * bars.volume).sum()) / total if total > 0.0 else None


def _flow_balance(flow: FlowBars | None, at_ms: int, count: int) -> float | None:
    """Return (up − down) / total ticks of the last ``count`` M5 spans; None without ticks."""
    if flow is None:
        return None
    start, end = np.searchsorted(flow.time_ms, (at_ms - count * Timeframe.M5.ms, at_ms - Timeframe.M5.ms + 1)).tolist()
    total = float(flow.total[start:end].sum())
    return float(flow.signed[start:end].sum()) / total if total > 0.0 else None


def _candles(bars: Bars, vwap: Floats, atr: Floats, count: int) -> tuple[conviction.Candle, ...]:
    """Return the last ``count`` bars with VWAP and ATR at their close, newest first."""
    columns = (bars.open, bars.high, bars.low, bars.close, vwap, atr)
    return tuple(conviction.Candle(*row) for row in zip(*(c[: -count - 1 : -1].tolist() for c in columns), strict=True))


def _combine(part5: M5Part, part15: M15Part, flow: FlowBars | None, settings: Settings) -> MarketView:
    """Join both parts and the flow at the moment of the newest M5 bar."""
    rules = settings.score
    regime = regime_of(part5.close_ms, part15.atr_ratio, part15.width_ratio, settings.regime)
    figures = _vwap_figures(part5, part15.atr, flow, regime, rules)
    strength = order_flow.strength(flow, part5.close_ms, rules)
    factors = factors_of(regime, rules)

    def of(side: Side) -> Score:
        readings: Readings = {
            **part15.readings(side),
            Layer.VWAP: vwap_volume.read(figures, side, regime.volatility, rules),
            Layer.FLOW: order_flow.read(strength, side, rules),
            Layer.CANDLE: conviction.read(part5.candles, side, rules),
        }
        return score(side, readings, factors, rules)

    return MarketView(
        symbol=part15.bars.symbol,
        m5_close_ms=part5.close_ms,
        m15_close_ms=part15.bars.last_close_ms,
        close=part5.close,
        atr_m15=part15.atr,
        atr_m5=part5.atr,
        regime=regime,
        vwap=part5.vwap,
        slope_atr=figures.slope_atr,
        slope_threshold_atr=figures.threshold_atr,
        long=of(Side.LONG),
        short=of(Side.SHORT),
        flip=vwap_volume.flip_side(figures),
        breaks=tuple(sorted(part5.breaks + part15.breaks, key=lambda b: b.close_ms)),
    )


def _vwap_figures(
    part5: M5Part, atr_m15: float, flow: FlowBars | None, regime: Regime, rules: ScoreSettings
) -> vwap_volume.VwapFigures:
    ticks = _flow_balance(flow, part5.close_ms, rules.opposite_share_bars)
    return vwap_volume.VwapFigures(
        slope_atr=part5.vwap_change / atr_m15,
        threshold_atr=rules.vwap_slope_atr * regime.slope_factor,
        beyond=part5.beyond,
        volume_balance=part5.volume_balance if ticks is None else ticks,
        volume_source="tick volume" if ticks is None else "order flow",
    )

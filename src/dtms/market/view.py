"""The market view of one symbol: everything a decision needs to know about closed bars.

``evaluate`` is a pure function of the newest ``M5_WINDOW`` and ``M15_WINDOW`` bars that were closed when the newest M5
bar closed. It cuts them itself, so a longer history changes nothing: the view after a restart is the view before it,
and no bar from the future can enter.
"""

from dataclasses import dataclass

import numpy as np

from dtms.domain.errors import FeedStale
from dtms.domain.facts import Json
from dtms.domain.market import Bars, FlowBars, Side, Timeframe
from dtms.market.layers import conviction, order_flow, vwap_volume
from dtms.market.parts import M5Part, M15Part, Readings, read_m5, read_m15
from dtms.market.reading import Layer
from dtms.market.regime import Regime, regime_of
from dtms.market.score import Score, factors_of, score
from dtms.market.structure import Break
from dtms.settings import ScoreSettings, Settings

M5_WINDOW = 600
M15_WINDOW = 600
_JSON_BREAKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """What the market says of one symbol at ``m5_close_ms`` (UTC); prices and ATRs are price differences.

    ``flip`` is the side that the current VWAP flip favours. ``breaks`` are those of the last ``BREAK_BARS`` (parts)
    bars of M5 and M15, oldest first. ``vwap`` is the 8-hour VWAP, ``slope_atr`` its slope in ATR(14, M15) per M5 bar.
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


def _flow_balance(flow: FlowBars | None, at_ms: int, count: int) -> float | None:
    """Return (up − down) / total ticks of the last ``count`` M5 spans; None without ticks."""
    if flow is None:
        return None
    start, end = np.searchsorted(flow.time_ms, (at_ms - count * Timeframe.M5.ms, at_ms - Timeframe.M5.ms + 1)).tolist()
    total = float(flow.total[start:end].sum())
    return float(flow.signed[start:end].sum()) / total if total > 0.0 else None


def _combine(part5: M5Part, part15: M15Part, flow: FlowBars | None, settings: Settings) -> MarketView:
    """Join both parts and the flow at the moment of the newest M5 bar."""
    rules = settings.score
    regime = regime_of(part5.close_ms, part15.atr_ratio, part15.width_ratio, settings.regime)
    figures = _vwap_figures(part5, part15.atr, flow, regime, rules)
    strength, whose = order_flow.strength(flow, part5.close_ms, rules), flow.source if flow is not None else None
    factors = factors_of(regime, rules)

    def of(side: Side) -> Score:
        readings: Readings = {
            **part15.readings(side),
            Layer.VWAP: vwap_volume.read(figures, side, regime.volatility, rules),
            Layer.FLOW: order_flow.read(strength, side, rules, whose),
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
    whose = f" of {flow.source}" if flow is not None and flow.source is not None else ""
    return vwap_volume.VwapFigures(
        slope_atr=part5.vwap_change / atr_m15,
        threshold_atr=rules.vwap_slope_atr * regime.slope_factor,
        beyond=part5.beyond,
        volume_balance=part5.volume_balance if ticks is None else ticks,
        volume_source="tick volume" if ticks is None else f"order flow{whose}",
    )

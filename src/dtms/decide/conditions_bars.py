"""Conditions on the shape of closed bars and on what is averaged over them."""

from dataclasses import dataclass
from typing import Annotated

from dtms.decide.conditions_facts import Judged, MarketFacts, NotKnown
from dtms.decide.conditions_params import Beyond, ForSide, OnBars, Where, Wrong, number, whole
from dtms.domain.market import Side, Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionWick:
    """The newest bar left a tail that is so many times its body."""

    ratio_min: Annotated[float, number(0.5, 20)] = 2.0
    timeframe: OnBars = Timeframe.M5
    direction: ForSide

    def wanted(self) -> str:
        where = "lower" if self.direction is Side.LONG else "upper"
        return f"{where} tail of at least {self.ratio_min:g} × the body on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        ratio = facts.patterns(self.timeframe).wick_ratio(self.direction)
        if ratio is None:
            return Judged(False, "the newest bar did not move")
        return Judged(ratio >= self.ratio_min, f"{ratio:.2f} × the body")


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideBar:
    """The newest bar lies within the one before it."""

    timeframe: OnBars = Timeframe.M15

    def wanted(self) -> str:
        return f"inside bar on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        inside = bool(facts.patterns(self.timeframe).is_inside)
        return Judged(inside, "the newest bar is inside" if inside else "the newest bar is not inside")


@dataclass(frozen=True, slots=True, kw_only=True)
class VwapDeviation:
    """The newest close is so many deviations above or below the VWAP."""

    sigma: Annotated[float, number(0, 10)]
    direction: Where
    timeframe: OnBars = Timeframe.M5

    def wanted(self) -> str:
        return f"at least {self.sigma:g} σ {self.direction.name.lower()} the VWAP of {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        distance = facts.patterns(self.timeframe).vwap
        if distance is None:
            raise NotKnown(f"too few {self.timeframe.name} bars for a VWAP")
        told = f"{distance.sigmas:+.2f} σ from {distance.vwap:.10g}"
        return Judged(distance.sigmas * self.direction.value >= self.sigma, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezed:
    """The Bollinger bands are narrow against their own median."""

    ratio_max: Annotated[float, number(0.05, 2)] = 0.6
    timeframe: OnBars = Timeframe.M15

    def wanted(self) -> str:
        return f"band width at most {self.ratio_max:g} × its median on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        ratio, _ = _width(facts, self.timeframe)
        return Judged(ratio <= self.ratio_max, f"{ratio:.2f} × its median")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanding:
    """The Bollinger bands are wide against their own median, and still widening."""

    ratio_min: Annotated[float, number(0.2, 20)] = 1.5
    timeframe: OnBars = Timeframe.M15

    def wanted(self) -> str:
        return f"band width at least {self.ratio_min:g} × its median and widening on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        ratio, is_widening = _width(facts, self.timeframe)
        told = f"{ratio:.2f} × its median, {'widening' if is_widening else 'not widening'}"
        return Judged(ratio >= self.ratio_min and is_widening, told)


def _width(facts: MarketFacts, of: Timeframe) -> tuple[float, bool]:
    width = facts.patterns(of).width
    if width is None:
        raise NotKnown(f"too few {of.name} bars for the bands")
    return width.ratio, width.is_widening


@dataclass(frozen=True, slots=True, kw_only=True)
class RsiBeyond:
    """The relative strength index is above or below a figure; ``where`` comes with the name."""

    where: Beyond
    value: Annotated[float, number(0, 100)]
    timeframe: OnBars = Timeframe.M15
    period: Annotated[int, whole(2, 100)] = 14

    def wanted(self) -> str:
        return f"RSI({self.period}, {self.timeframe.name}) {self.where.name.lower()} {self.value:g}"

    def judge(self, facts: MarketFacts) -> Judged:
        rsi = facts.patterns(self.timeframe).rsi(self.period)
        if rsi is None:
            raise NotKnown(f"too few {self.timeframe.name} bars for an RSI of {self.period}")
        return Judged((rsi - self.value) * self.where.value > 0.0, f"RSI {rsi:.1f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """The exponential averages of 20, 50 and 200 bars are in order for a direction."""

    timeframe: OnBars = Timeframe.M15
    direction: ForSide

    def wanted(self) -> str:
        sign = ">" if self.direction is Side.LONG else "<"
        return f"EMA20 {sign} EMA50 {sign} EMA200 on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        read = facts.patterns(self.timeframe).averages
        if read is None:
            raise NotKnown(f"too few {self.timeframe.name} bars for an EMA of 200")
        told = f"EMA20 {read.fast:.8g}, EMA50 {read.middle:.8g}, EMA200 {read.slow:.8g}"
        return Judged(read.aligned() is self.direction, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtrBeyond:
    """The average true range is above or below a price difference, or a multiple of its mean; ``where``: by name."""

    where: Beyond
    value: Annotated[float | None, number(1e-9, 1e12)] = None
    ratio: Annotated[float | None, number(0.05, 50)] = None
    timeframe: OnBars = Timeframe.M15

    def __post_init__(self) -> None:
        if (self.value is None) is (self.ratio is None):
            raise Wrong("needs either value (a price difference) or ratio (of its mean)")

    def wanted(self) -> str:
        limit = f"{self.value:.10g}" if self.value is not None else f"{self.ratio:g} × its mean"
        return f"ATR({self.timeframe.name}) {self.where.name.lower()} {limit}"

    def judge(self, facts: MarketFacts) -> Judged:
        patterns = facts.patterns(self.timeframe)
        ratio, atr = patterns.atr_ratio, patterns.atr or 0.0
        told = f"ATR {atr:.6g}" + (f", {ratio:.2f} × its mean" if ratio is not None else "")
        if self.value is not None:
            return Judged((atr - self.value) * self.where.value > 0.0, told)
        if ratio is None or self.ratio is None:
            raise NotKnown(f"too few {self.timeframe.name} bars for the mean of ATR")
        return Judged((ratio - self.ratio) * self.where.value > 0.0, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRatio:
    """The newest bar's tick volume is so many times the mean of the twenty before it."""

    ratio_min: Annotated[float, number(0.1, 100)] = 1.5
    timeframe: OnBars = Timeframe.M5

    def wanted(self) -> str:
        return f"volume at least {self.ratio_min:g} × its mean on {self.timeframe.name}"

    def judge(self, facts: MarketFacts) -> Judged:
        ratio = facts.patterns(self.timeframe).volume_ratio
        if ratio is None:
            raise NotKnown(f"the volume of {self.timeframe.name} bars is not known")
        return Judged(ratio >= self.ratio_min, f"{ratio:.2f} × its mean")

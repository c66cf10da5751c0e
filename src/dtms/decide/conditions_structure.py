"""Conditions on market structure: breaks, zones, sweeps and equal swings; ages count closed bars, 0 is the newest."""

from dataclasses import dataclass
from typing import Annotated

from dtms.decide.conditions_facts import Judged, MarketFacts
from dtms.decide.conditions_params import ForSide, OnBars, Wrong, number, whole
from dtms.domain.market import Side, Timeframe
from dtms.market.liquidity import Sweep
from dtms.market.patterns import SeenBreak
from dtms.market.structure import BreakKind
from dtms.market.zones import OrderBlock

_UP = {Side.LONG: "up", Side.SHORT: "down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What stands in favour of ``side`` until a bar of ``timeframe`` closes beyond ``level``, against it."""

    side: Side
    timeframe: Timeframe
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Structure was broken lately, and no bar closed back since; ``kind`` and ``side`` come with the name."""

    kind: BreakKind
    side: Side
    timeframe: OnBars
    age_bars_max: Annotated[int, whole(0, 200)] = 5

    def wanted(self) -> str:
        return f"{self.kind} {_UP[self.side]} on {self.timeframe.name} in the last {self.age_bars_max + 1} bars"

    def judge(self, facts: MarketFacts) -> Judged:
        newest = self._newest(facts)
        if newest is None:
            breaks = facts.patterns(self.timeframe).breaks
            last = _told(breaks[0]) if breaks else "no break at all"
            return Judged(False, f"no {self.kind} {_UP[self.side]}, {last}")
        return Judged(newest.age_bars <= self.age_bars_max and not newest.undone, _told(newest))

    def stands_on(self, facts: MarketFacts) -> Structure | None:
        """Return the level that was broken, while the condition holds."""
        newest = self._newest(facts) if self.judge(facts).holds else None
        return _structure(self.side, self.timeframe, newest.level) if newest is not None else None

    def _newest(self, facts: MarketFacts) -> SeenBreak | None:
        breaks = facts.patterns(self.timeframe).breaks
        return next((b for b in breaks if b.kind is self.kind and b.side is self.side), None)


def _structure(side: Side, timeframe: Timeframe, level: float) -> Structure:
    return Structure(side=side, timeframe=timeframe, level=level)


def _told(seen: SeenBreak) -> str:
    undone = ", undone since" if seen.undone else ""
    return f"{seen.kind} {_UP[seen.side]} through {seen.level:.10g}, {seen.age_bars} bars ago{undone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOrderBlock:
    """The price is back at a standing order block, or within a share of ATR of it."""

    timeframe: OnBars = Timeframe.M15
    direction: ForSide
    tolerance_atr: Annotated[float, number(0, 5)] = 0.1
    age_bars_max: Annotated[int, whole(0, 600)] = 200

    def wanted(self) -> str:
        return f"price within {self.tolerance_atr:g} ATR of an order block for a {self.direction.direction}"

    def judge(self, facts: MarketFacts) -> Judged:
        patterns, at = facts.patterns(self.timeframe), facts.quote().opening(self.direction)
        margin = self.tolerance_atr * (patterns.atr or 0.0)
        nearest = self._nearest(facts)
        if nearest is None:
            return Judged(False, f"no order block stands on {self.timeframe.name}")
        told = f"price {at:.10g}, nearest block {nearest.low:.10g} to {nearest.high:.10g}, {nearest.age_bars} bars old"
        return Judged(nearest.low - margin <= at <= nearest.high + margin, told)

    def stands_on(self, facts: MarketFacts) -> Structure | None:
        """Return the far end of the nearest block, which the price may not have reached yet."""
        nearest = self._nearest(facts)
        if nearest is None:
            return None
        level = nearest.low if self.direction is Side.LONG else nearest.high
        return _structure(self.direction, self.timeframe, level)

    def _nearest(self, facts: MarketFacts) -> OrderBlock | None:
        at = facts.quote().opening(self.direction)
        blocks = facts.patterns(self.timeframe).blocks(self.direction)
        near = [block for block in blocks if block.age_bars <= self.age_bars_max]
        return min(near, key=lambda block: max(block.low - at, at - block.high), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class InGap:
    """A fair value gap stands that is filled by so much; ``side`` comes with the name."""

    side: Side
    timeframe: OnBars
    filled_pct_min: Annotated[float, number(0, 100)] = 0.0
    filled_pct_max: Annotated[float, number(0, 100)] = 100.0
    age_bars_max: Annotated[int, whole(0, 600)] = 100

    def __post_init__(self) -> None:
        if self.filled_pct_min > self.filled_pct_max:
            raise Wrong("filled_pct_min must not be above filled_pct_max")

    def wanted(self) -> str:
        filled = f"{self.filled_pct_min:g} to {self.filled_pct_max:g} % filled"
        return f"gap {_UP[self.side]} on {self.timeframe.name}, {filled}"

    def judge(self, facts: MarketFacts) -> Judged:
        gaps = [g for g in facts.patterns(self.timeframe).gaps(self.side) if g.age_bars <= self.age_bars_max]
        if not gaps:
            return Judged(False, f"no gap {_UP[self.side]} stands on {self.timeframe.name}")
        fits = [g for g in gaps if self.filled_pct_min <= g.filled_pct <= self.filled_pct_max]
        shown = (fits or gaps)[0]
        told = f"{shown.low:.10g} to {shown.high:.10g}, {shown.filled_pct:.0f} % filled, {shown.age_bars} bars old"
        return Judged(bool(fits), told)

    def stands_on(self, facts: MarketFacts) -> Structure | None:
        """Return the far end of the newest gap: a close beyond it has filled it."""
        gap = next((g for g in facts.patterns(self.timeframe).gaps(self.side) if g.age_bars <= self.age_bars_max), None)
        if gap is None:
            return None
        return _structure(self.side, self.timeframe, gap.low if self.side is Side.LONG else gap.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """Liquidity beyond a swing was taken lately, in favour of a direction, and prices stayed back."""

    timeframe: OnBars = Timeframe.M5
    direction: ForSide
    age_bars_max: Annotated[int, whole(0, 200)] = 3

    def wanted(self) -> str:
        which = "lows" if self.direction is Side.LONG else "highs"
        return f"sweep of {which} on {self.timeframe.name} in the last {self.age_bars_max + 1} bars"

    def judge(self, facts: MarketFacts) -> Judged:
        shown = self._newest(facts)
        if shown is None:
            return Judged(False, f"no sweep on {self.timeframe.name}")
        told = f"{shown.level:.10g} swept to {shown.extreme:.10g}, {shown.age_bars} bars ago"
        is_fresh = shown.age_bars <= self.age_bars_max and not shown.undone
        return Judged(is_fresh, f"{told}{', undone since' if shown.undone else ''}")

    def stands_on(self, facts: MarketFacts) -> Structure | None:
        """Return the level that was swept, while prices stay back from it."""
        newest = self._newest(facts) if self.judge(facts).holds else None
        return _structure(self.direction, self.timeframe, newest.level) if newest is not None else None

    def _newest(self, facts: MarketFacts) -> Sweep | None:
        """Return the newest sweep that stands, else the newest at all."""
        sweeps = facts.patterns(self.timeframe).sweeps(self.direction)
        return next((sweep for sweep in sweeps if not sweep.undone), sweeps[0] if sweeps else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualSwings:
    """Several swing highs (LONG) or lows (SHORT) stand at about one price; ``of`` comes with the name."""

    of: Side
    timeframe: OnBars = Timeframe.M15
    tolerance_atr: Annotated[float, number(0.01, 5)] = 0.2
    count_min: Annotated[int, whole(2, 20)] = 2

    def wanted(self) -> str:
        within = f"within {self.tolerance_atr:g} ATR on {self.timeframe.name}"
        return f"at least {self.count_min} equal {self._which()} {within}"

    def _which(self) -> str:
        return "highs" if self.of is Side.LONG else "lows"

    def judge(self, facts: MarketFacts) -> Judged:
        pool = facts.patterns(self.timeframe).pool(self.of, self.tolerance_atr)
        if pool is None:
            return Judged(False, f"no {self._which()} stand")
        return Judged(pool.count >= self.count_min, f"{pool.count} {self._which()} at {pool.level:.10g}")


STRUCTURAL = (Broken, AtOrderBlock, InGap, Swept)
"""Conditions that stand on structure, and fall with it."""

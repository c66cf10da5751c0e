"""Conditions on price, time, spread, score and what comes from outside."""

from dataclasses import dataclass
from typing import Annotated

from dtms.decide.conditions_facts import Judged, MarketFacts, NotKnown
from dtms.decide.conditions_params import At, ForSide, Price, Sessions, Wrong, number
from dtms.domain.calendar import Release
from dtms.domain.symbols import currencies
from dtms.market.regime import session_at

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceAbove:
    """The whole quote lies above a price."""

    price: Price

    def wanted(self) -> str:
        return f"bid above {self.price:.10g}"

    def judge(self, facts: MarketFacts) -> Judged:
        bid = facts.quote().bid
        return Judged(bid > self.price, f"bid {bid:.10g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBelow:
    """The whole quote lies below a price."""

    price: Price

    def wanted(self) -> str:
        return f"ask below {self.price:.10g}"

    def judge(self, facts: MarketFacts) -> Judged:
        ask = facts.quote().ask
        return Judged(ask < self.price, f"ask {ask:.10g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNear:
    """The middle of the quote is within a distance (price difference) of a price."""

    price: Price
    tolerance: Price

    def wanted(self) -> str:
        return f"within {self.tolerance:.10g} of {self.price:.10g}"

    def judge(self, facts: MarketFacts) -> Judged:
        tick = facts.quote()
        middle = (tick.bid + tick.ask) / 2.0
        away = abs(middle - self.price)
        return Judged(away <= self.tolerance, f"{middle:.10g}, {away:.6g} away")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAfter:
    """It is at least that late; a time of day begins anew at midnight UTC."""

    time: At

    def wanted(self) -> str:
        return f"from {self.time.told} on"

    def judge(self, facts: MarketFacts) -> Judged:
        return Judged(self.time.is_past(facts.now_ms), _clock(facts.now_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBefore:
    """It is not yet that late."""

    time: At

    def wanted(self) -> str:
        return f"before {self.time.told}"

    def judge(self, facts: MarketFacts) -> Judged:
        return Judged(not self.time.is_past(facts.now_ms), _clock(facts.now_ms))


def _clock(now_ms: int) -> str:
    minutes = now_ms % _DAY_MS // 60_000
    return f"{minutes // 60:02}:{minutes % 60:02} UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class InSession:
    """It is one of these parts of the trading day."""

    session: Sessions

    def wanted(self) -> str:
        return f"session {' or '.join(self.session)}"

    def judge(self, facts: MarketFacts) -> Judged:
        now = session_at(facts.now_ms)
        return Judged(now in self.session, f"session {now}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAbove:
    """The score for a direction is above a figure, which shrinks with absent layers as every threshold does."""

    value: Annotated[float, number(-11.5, 11.5)]
    direction: ForSide

    def wanted(self) -> str:
        return f"score of a {self.direction.direction} above {self.value:+.2f}"

    def judge(self, facts: MarketFacts) -> Judged:
        score = facts.score_view().score(self.direction)
        threshold = self.value * score.scale
        scaled = f", against {threshold:+.2f} as layers are absent" if score.scale < 0.999 else ""
        return Judged(score.total > threshold, f"score {score.total:+.2f}{scaled}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MinConfidence:
    """The score for a direction as a percentage: 50 is undecided, 100 every present layer fully in favour."""

    value: Annotated[float, number(0, 100)]
    direction: ForSide

    def wanted(self) -> str:
        return f"confidence in a {self.direction.direction} of at least {self.value:.0f} %"

    def judge(self, facts: MarketFacts) -> Judged:
        score = facts.score_view().score(self.direction)
        full = score.scale * facts.settings.score.full_range
        if not full > 0.0:
            raise NotKnown("no layer of the score is present")
        confidence = min(100.0, max(0.0, 50.0 + 50.0 * score.total / full))
        return Judged(confidence >= self.value, f"confidence {confidence:.1f} %, score {score.total:+.2f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadBelow:
    """The spread is below a number of points, or below a multiple of its usual size."""

    points: Annotated[float | None, number(0, 1e9)] = None
    times_median: Annotated[float | None, number(0.1, 1000)] = None

    def __post_init__(self) -> None:
        if (self.points is None) is (self.times_median is None):
            raise Wrong("needs either points or times_median")

    def wanted(self) -> str:
        return f"spread below {self.points:g} points" if self.points is not None else self._times()

    def _times(self) -> str:
        return f"spread below {self.times_median:g} × its median"

    def judge(self, facts: MarketFacts) -> Judged:
        spread = facts.quote().spread
        points = spread / facts.instrument.point
        if self.points is not None:
            return Judged(points < self.points, f"spread {points:.1f} points")
        if facts.median_spread is None or self.times_median is None:
            raise NotKnown("the usual spread is not known")
        ratio = spread / facts.median_spread if facts.median_spread > 0.0 else float("inf")
        return Judged(ratio < self.times_median, f"spread {points:.1f} points, {ratio:.2f} × its median")


@dataclass(frozen=True, slots=True, kw_only=True)
class VixBelow:
    """The volatility index is below a figure."""

    value: Annotated[float, number(1, 200)]

    def wanted(self) -> str:
        return f"VIX below {self.value:g}"

    def judge(self, facts: MarketFacts) -> Judged:
        if facts.vix is None:
            raise NotKnown("the volatility index is not known")
        return Judged(facts.vix.value < self.value, f"VIX {facts.vix.value:.2f} of {facts.vix.source}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsClear:
    """No release of either currency is near; minutes and impacts as the news rail's unless given."""

    before_min: Annotated[float | None, number(0, 1440)] = None
    after_min: Annotated[float | None, number(0, 1440)] = None

    def wanted(self) -> str:
        given = [
            f"{m:g} min {word}" for m, word in ((self.before_min, "before"), (self.after_min, "after")) if m is not None
        ]
        return f"no release near{' (' + ', '.join(given) + ')' if given else ''}"

    def judge(self, facts: MarketFacts) -> Judged:
        if facts.releases is None:
            raise NotKnown("there is no economic calendar")
        near = next((release for release in facts.releases if self._is_near(release, facts)), None)
        if near is None:
            return Judged(True, "no release near")
        minutes = (near.time_ms - facts.now_ms) / 60_000
        when = f"in {minutes:.0f} min" if minutes >= 0 else f"{-minutes:.0f} min ago"
        return Judged(False, f"{near.event} ({near.currency}) {when}")

    def _is_near(self, release: Release, facts: MarketFacts) -> bool:
        rails, of = facts.settings.rails, facts.instrument
        before = rails.news_before_min if self.before_min is None else self.before_min
        after = rails.news_after_min if self.after_min is None else self.after_min
        near = release.time_ms - before * 60_000 <= facts.now_ms < release.time_ms + after * 60_000
        money = (*currencies(facts.symbol), of.currency_base, of.currency_profit)
        return near and release.currency in money and release.impact.lower() in rails.news_impacts

"""What one evaluation of a symbol provides for all who wait for it, and how a condition stands on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dtms.domain.calendar import Release
from dtms.domain.market import Instrument, Side, Tick, Timeframe
from dtms.domain.sources import Vix
from dtms.market.patterns import Patterns
from dtms.market.view import MarketView
from dtms.settings import Settings

if TYPE_CHECKING:
    from dtms.decide.conditions import Verdict
    from dtms.decide.conditions_tree import Leaf


class Truth(StrEnum):
    """How a condition stands; what is unknown is not met."""

    HOLDS = "holds"
    FAILS = "does_not_hold"
    UNKNOWN = "unknown"


class NotKnown(Exception):
    """What a condition asks about is missing or too old; the message says what."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a leaf holds, and the present value it was judged on, in words."""

    holds: bool
    present: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketFacts:
    """The market of one symbol at ``now_ms`` (market time, UTC).

    ``kept`` remembers how each leaf was judged, so that plans which ask the same are answered once.
    """

    symbol: str
    instrument: Instrument
    now_ms: int
    settings: Settings
    tick: Tick | None
    stale: str | None = None
    """Why nothing of the symbol can be believed now; None when it can."""
    bars: Mapping[Timeframe, Patterns] = field(default_factory=dict)
    view: MarketView | None = None
    median_spread: float | None = None
    """A price difference."""
    vix: Vix | None = None
    releases: Sequence[Release] | None = None
    """None when there is no calendar: nobody knows then that no release is near."""
    kept: dict["Leaf", "Verdict"] = field(default_factory=dict)

    def quote(self) -> Tick:
        """Return the present quote.

        Raises:
            NotKnown: there is none to believe.
        """
        if self.stale is not None:
            raise NotKnown(self.stale)
        if self.tick is None or not self.tick.is_sound:
            raise NotKnown(f"no sound quote of {self.symbol} is known")
        return self.tick

    def patterns(self, timeframe: Timeframe) -> Patterns:
        """Return what the closed bars of a timeframe show.

        Raises:
            NotKnown: they are too few or too old.
        """
        patterns = self.bars.get(timeframe)
        if patterns is None or patterns.atr is None:
            raise NotKnown(f"too few closed {timeframe.name} bars of {self.symbol} are known")
        self._require_fresh(timeframe, patterns.close_ms)
        return patterns

    def score_view(self) -> MarketView:
        """Return the market view.

        Raises:
            NotKnown: there is none, or it is too old.
        """
        if self.view is None:
            raise NotKnown(f"no score of {self.symbol} is known")
        self._require_fresh(Timeframe.M5, self.view.m5_close_ms)
        return self.view

    def _require_fresh(self, timeframe: Timeframe, close_ms: int) -> None:
        late_s = (self.now_ms - close_ms - timeframe.ms) / 1000.0
        if late_s > self.settings.cadence.stale_s:
            raise NotKnown(f"the next {timeframe.name} bar of {self.symbol} is {late_s:.0f} s overdue")

    def opening(self, side: Side) -> float | None:
        """Return the price at which ``side`` can be opened now; None without a quote to believe."""
        usable = self.stale is None and self.tick is not None and self.tick.is_sound
        return self.tick.opening(side) if self.tick is not None and usable else None

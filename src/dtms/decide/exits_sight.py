"""What Intelligent Exit's rules see of a position."""

from dataclasses import dataclass, field

from dtms.decide.proposals import Sighting
from dtms.decide.stop_rules import adopted, price_of
from dtms.domain.managed import ExitRules, Managed
from dtms.domain.market import Timeframe
from dtms.market.levels import Levels
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One sighting with what is derived of it once; ``memory`` has adopted what the broker shows."""

    at: Sighting
    memory: Managed
    rules: ExitRules
    settings: Settings
    price: float
    """At which the position is closed."""
    r: float
    progress: float
    levels: Levels | None
    """Of M15."""
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def may_trail(self) -> bool:
        """Whether breakeven was reached, or the profit is large enough now."""
        return self.memory.breakeven_done or self.r >= self.settings.exits.active_r


def look_at(sighting: Sighting, settings: Settings) -> Look:
    """Derive what all rules see of a sighting.

    Raises:
        TypeError: the position is under another manager's rules.
    """
    rules = sighting.managed.rules
    if not isinstance(rules, ExitRules):
        raise TypeError(f"position {sighting.managed.ticket} is not under rules of Intelligent Exit")
    memory, price = adopted(sighting), price_of(sighting)
    return Look(
        at=sighting,
        memory=memory,
        rules=rules,
        settings=settings,
        price=price,
        r=memory.r_multiple(price),
        progress=progress(memory, price),
        levels=sighting.levels.get(Timeframe.M15),
    )


def way_to_target(managed: Managed) -> float | None:
    """Return how far the target is from the entry; None without one that is a profit."""
    way = 0.0 if managed.target is None else (managed.target - managed.entry) * managed.side.sign
    return way if way > 0.0 else None


def progress(managed: Managed, price: float) -> float:
    """Return the share of the way from entry to target that ``price`` has gone, negative in a loss.

    Without a target it is half the R-multiple, as if a target stood at 2 R. A target that is no profit, because it was
    put there to get out, is none to measure by.
    """
    way = way_to_target(managed)
    return managed.r_multiple(price) / 2.0 if way is None else (price - managed.entry) * managed.side.sign / way

"""What the Universal manager's rules see of a position."""

from dataclasses import dataclass, field

from dtms.decide.proposals import Sighting
from dtms.decide.stop_rules import adopted, clearance_of, price_of
from dtms.decide.stop_rules import is_at_breakeven as is_at_breakeven
from dtms.decide.stop_rules import tightest as tightest
from dtms.decide.trailing import Ground
from dtms.domain.managed import Managed, UniversalRules
from dtms.market.levels import Levels
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One sighting with what is derived of it once; ``memory`` has adopted what the broker shows."""

    at: Sighting
    memory: Managed
    rules: UniversalRules
    settings: Settings
    price: float
    """At which the position is closed."""
    r: float
    """The R-multiple at that price."""
    levels: Levels | None
    """Of the rules' timeframe."""
    notes: dict[str, str] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)


def look_at(sighting: Sighting, settings: Settings) -> Look:
    """Derive what all rules see of a sighting.

    Raises:
        TypeError: the position is under another manager's rules.
    """
    rules = sighting.managed.rules
    if not isinstance(rules, UniversalRules):
        raise TypeError(f"position {sighting.managed.ticket} is not under rules of the Universal manager")
    memory, price = adopted(sighting), price_of(sighting)
    return Look(
        at=sighting,
        memory=memory,
        rules=rules,
        settings=settings,
        price=price,
        r=memory.r_multiple(price),
        levels=sighting.levels.get(rules.timeframe),
    )


def ground(look: Look) -> Ground:
    """Return what the trailing method sees."""
    median = look.at.median_spread
    return Ground(
        side=look.memory.side,
        price=look.price,
        clearance=clearance_of(look.at),
        spread=look.at.tick.spread if median is None else median,
        rules=look.rules,
        levels=look.levels,
        settings=look.settings.universal,
    )

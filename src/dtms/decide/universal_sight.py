"""What the Universal manager's rules see of a position, and what every change of it has to respect."""

from dataclasses import dataclass, field, replace

from dtms.decide.breakeven import costs_paid
from dtms.decide.guards import is_spread_spike
from dtms.decide.proposals import Sighting
from dtms.domain.actions import ActionKind
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
    clearance: float
    levels: Levels | None
    notes: dict[str, str] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)

    @property
    def r(self) -> float:
        return self.memory.r_multiple(self.price)


def look_at(sighting: Sighting, settings: Settings) -> Look:
    """Derive what all rules see of a sighting.

    Raises:
        TypeError: the position is under another manager's rules.
    """
    rules, instrument, tick = sighting.managed.rules, sighting.instrument, sighting.tick
    if not isinstance(rules, UniversalRules):
        raise TypeError(f"position {sighting.managed.ticket} is not under rules of the Universal manager")
    return Look(
        at=sighting,
        memory=_adopted(sighting),
        rules=rules,
        settings=settings,
        price=tick.closing(sighting.position.side),
        clearance=max(instrument.stops_level, instrument.freeze_level) + tick.spread,
        levels=sighting.levels.get(rules.timeframe),
    )


def _adopted(sighting: Sighting) -> Managed:
    """Take over what the broker shows, whoever changed it: volume, entry, levels, and a stop at breakeven."""
    known, position = sighting.managed, sighting.position
    # A stop that was seen tighter a moment ago is not forgotten for a list that can be older.
    stop = known.stop if _is_tighter_seen(sighting) else position.stop
    reached = known.breakeven_done or is_at_breakeven(sighting)
    shown = (position.volume, position.entry, stop, position.target, reached)
    if shown == (known.volume, known.entry, known.stop, known.target, known.breakeven_done):
        return known
    volume, entry, stop, target, reached = shown
    return replace(known, volume=volume, entry=entry, stop=stop, target=target, breakeven_done=reached)


def _is_tighter_seen(sighting: Sighting) -> bool:
    stop, seen = sighting.position.stop, sighting.seen_stops.get(sighting.position.ticket)
    return seen is not None and (stop is None or (seen - stop) * sighting.position.side.sign > 0.0)


def is_at_breakeven(sighting: Sighting) -> bool:
    """Answer whether the stop stands at entry plus costs or beyond it, on the protective side.

    Of the present and the usual spread the narrower counts: who moved the stop there paid no more than that.
    """
    position, tick, median = sighting.position, sighting.tick, sighting.median_spread
    if position.stop is None or not tick.is_sound:
        return False
    spread = tick.spread if median is None else min(tick.spread, median)
    costs = spread + costs_paid(sighting.managed, sighting.instrument, sighting.cost_money)
    beyond = (position.stop - position.entry) * position.side.sign
    return beyond >= costs - sighting.instrument.tick_size / 2


def untouchable(look: Look) -> str | None:
    """Return why nothing of the position can be changed now."""
    tick, position, freeze = look.at.tick, look.at.position, look.at.instrument.freeze_level
    if not tick.is_sound:
        return f"unsound quote: bid {tick.bid:.10g}, ask {tick.ask:.10g}"
    if freeze > 0.0:
        levels = [level for level in (position.stop, position.target) if level is not None]
        near = min((abs(look.price - level) for level in levels), default=freeze + 1.0)
        if near <= freeze:
            return f"frozen: the price is {near:.6g} from the stop or target, within {freeze:.6g}"
    return None


# --- what all stop moves share ---------------------------------------------------------------------------------------


def tightest(sighting: Sighting) -> float | None:
    """Return the tightest of the stops that are listed, or were a moment ago; None where there is none."""
    stop, seen, sign = (
        sighting.position.stop,
        sighting.seen_stops.get(sighting.position.ticket),
        sighting.position.side.sign,
    )
    if stop is None or seen is None:
        return seen if stop is None else stop
    return stop if (stop - seen) * sign >= 0.0 else seen


def why_not_there(look: Look, stop: float) -> str | None:
    """Return why a stop cannot be placed: it would loosen, or is not clear of the market."""
    side, live, at = look.memory.side, tightest(look.at), look.at
    if not 0.0 < stop < float("inf"):
        return f"{stop:.10g} is no price"
    if live is not None and (stop - live) * side.sign <= at.instrument.tick_size / 2:
        return f"{stop:.10g} would not improve the stop at {live:.10g}"
    gap = (look.price - stop) * side.sign
    if gap < look.clearance - at.instrument.tick_size * 1e-6:  # the last bits of a float are no distance
        return f"{stop:.10g} waits until the price is {look.clearance:.6g} beyond it, now {gap:.6g}"
    is_spike = is_spread_spike(at.tick, at.median_spread, look.settings.rails)
    if is_spike and gap <= look.clearance * 1.000001:
        return f"spread spike {at.tick.spread:.6g}: the spread itself would hit {stop:.10g}"
    return None


def held(look: Look, kind: ActionKind) -> str | None:
    until_ms = look.memory.not_before_ms.get(kind.value, 0)
    if look.at.now_ms < until_ms:
        return f"failed before, tried again in {(until_ms - look.at.now_ms) / 1000.0:.0f} s"
    return None


def cooling(look: Look) -> str | None:
    left_s = look.rules.cooldown_s - (look.at.now_ms - look.memory.moved_ms) / 1000.0
    if look.memory.moved_ms and left_s > 0.0:
        return f"moved a moment ago, cools down for {left_s:.0f} s of {look.rules.cooldown_s:g} s"
    return None

"""What Intelligent Exit's rules see of a position, and what every change of it has to respect."""

from dataclasses import dataclass, field, replace

from dtms.decide.guards import is_spread_spike
from dtms.decide.proposals import Sighting
from dtms.decide.universal_sight import is_at_breakeven, tightest
from dtms.domain.actions import ActionKind
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
    clearance: float
    """The least distance of a stop from the price."""
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
    rules, instrument, tick = sighting.managed.rules, sighting.instrument, sighting.tick
    if not isinstance(rules, ExitRules):
        raise TypeError(f"position {sighting.managed.ticket} is not under rules of Intelligent Exit")
    memory, price = _adopted(sighting), tick.closing(sighting.managed.side)
    return Look(
        at=sighting,
        memory=memory,
        rules=rules,
        settings=settings,
        price=price,
        r=memory.r_multiple(price),
        progress=progress(memory, price),
        clearance=max(instrument.stops_level, instrument.freeze_level) + tick.spread,
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


def _adopted(sighting: Sighting) -> Managed:
    """Take over what the broker shows, whoever changed it: volume, entry, levels, and a stop at breakeven."""
    known, position = sighting.managed, sighting.position
    live = tightest(sighting)
    # A stop that was seen tighter a moment ago is not forgotten for a list that can be older.
    stop = known.stop if live != position.stop else position.stop
    reached = known.breakeven_done or is_at_breakeven(sighting)
    shown = (position.volume, position.entry, stop, position.target, reached)
    if shown == (known.volume, known.entry, known.stop, known.target, known.breakeven_done):
        return known
    volume, entry, stop, target, reached = shown
    return replace(
        known,
        volume=volume,
        entry=entry,
        stop=stop,
        target=target,
        breakeven_done=reached,
        trailing_active=known.trailing_active or reached,
    )


# --- what is in the way ----------------------------------------------------------------------------------------------


def untouchable(look: Look) -> str | None:
    """Return why nothing of the position can be changed now."""
    tick, position = look.at.tick, look.at.position
    if not tick.is_sound:
        return f"unsound quote: bid {tick.bid:.10g}, ask {tick.ask:.10g}"
    if position.side is not look.memory.side:
        return f"it was taken over as a {look.memory.side.direction} and is a {position.side.direction} now"
    return _frozen(look)


def _frozen(look: Look) -> str | None:
    freeze, position = look.at.instrument.freeze_level, look.at.position
    if freeze <= 0.0:
        return None
    near = min((abs(look.price - at) for at in (position.stop, position.target) if at is not None), default=None)
    if near is None or near > freeze:
        return None
    return f"frozen: the price is {near:.6g} from the stop or target, within {freeze:.6g}"


def why_not_there(look: Look, stop: float) -> str | None:
    """Return why a stop cannot be placed: it would loosen, or is not clear of the market."""
    at, sign, live = look.at, look.memory.side.sign, tightest(look.at)
    if not 0.0 < stop < float("inf"):
        return f"{stop:.10g} is no price"
    if live is not None and (stop - live) * sign <= at.instrument.tick_size / 2:
        return f"{stop:.10g} would not improve the stop at {live:.10g}"
    gap = (look.price - stop) * sign
    least = max(look.clearance, at.instrument.tick_size)
    if gap < least - at.instrument.tick_size * 1e-3:  # a float's tail is no distance
        return f"{stop:.10g} waits until the price is {least:.6g} beyond it, now {gap:.6g}"
    if is_spread_spike(at.tick, at.median_spread, look.settings.rails) and gap <= least * 1.000001:
        return f"spread spike {at.tick.spread:.6g}: the spread itself would hit {stop:.10g}"
    return None


def held(look: Look, kind: ActionKind) -> str | None:
    """Return why a kind of action waits: it failed a moment ago."""
    until_ms = look.memory.not_before_ms.get(kind.value, 0)
    if look.at.now_ms < until_ms:
        return f"failed before, tried again in {(until_ms - look.at.now_ms) / 1000.0:.0f} s"
    return None


def cooling(look: Look) -> str | None:
    """Return why trailing waits: the stop was moved a moment ago."""
    left_s = look.rules.cooldown_s - (look.at.now_ms - look.memory.moved_ms) / 1000.0
    if look.memory.moved_ms and left_s > 0.0:
        return f"moved a moment ago, cools down for {left_s:.0f} s of {look.rules.cooldown_s:g} s"
    return None

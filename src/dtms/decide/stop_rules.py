"""What every change that a manager makes to a position has to respect, whichever manager it is.

No stop is loosened, crosses the market, or lands within stops or freeze level + spread of it. What the broker shows is
adopted, whoever changed it. A profit counts as made when both the quote and the price at which the broker values the
position say so: one tick at ten times the market's price is no reason to take a part.
"""

from dataclasses import replace

from dtms.decide.breakeven import costs_paid
from dtms.decide.guards import is_spread_spike
from dtms.decide.proposals import Sighting
from dtms.domain.actions import ActionKind
from dtms.domain.managed import Managed
from dtms.settings import Settings


def price_of(at: Sighting) -> float:
    """Return the price that closes the position: the less favourable of the quote's and the broker's own."""
    side, valued = at.position.side, at.position.price_now
    quoted = at.tick.closing(side)
    return quoted if valued <= 0.0 or (valued - quoted) * side.sign >= 0.0 else valued


def clearance_of(at: Sighting) -> float:
    """Return the least distance of a stop from the price; never less than a tick."""
    level = max(at.instrument.stops_level, at.instrument.freeze_level)
    return max(level + at.tick.spread, at.instrument.tick_size)


def adopted(at: Sighting) -> Managed:
    """Take over what the broker shows, whoever changed it: volume, entry, levels, and a stop at breakeven."""
    known, position = at.managed, at.position
    if position.side is not known.side:
        return known  # it is another position by now
    # A stop that was seen tighter a moment ago is not forgotten for a list that can be older.
    stop = position.stop if tightest(at) == position.stop else known.stop
    reached = known.breakeven_done or is_at_breakeven(at)
    shown = (position.volume, position.entry, stop, position.target, reached)
    if shown == (known.volume, known.entry, known.stop, known.target, known.breakeven_done):
        return known
    volume, entry, stop, target, reached = shown
    return replace(known, volume=volume, entry=entry, stop=stop, target=target, breakeven_done=reached)


def tightest(at: Sighting) -> float | None:
    """Return the tightest of the stops that are listed, or were a moment ago; None where there is none."""
    stop, seen = at.position.stop, at.seen_stops.get(at.position.ticket)
    if stop is None or seen is None:
        return seen if stop is None else stop
    return stop if (stop - seen) * at.position.side.sign >= 0.0 else seen


def is_at_breakeven(at: Sighting) -> bool:
    """Answer whether the stop stands at entry plus costs or beyond it, on the protective side.

    Of the present and the usual spread the narrower counts: who moved the stop there paid no more than that.
    """
    position, tick, median = at.position, at.tick, at.median_spread
    if position.stop is None or not tick.is_sound:
        return False
    spread = tick.spread if median is None else min(tick.spread, median)
    costs = spread + costs_paid(at.managed, at.instrument, at.cost_money)
    beyond = (position.stop - position.entry) * position.side.sign
    return beyond >= costs - at.instrument.tick_size / 2


def untouchable(at: Sighting) -> str | None:
    """Return why nothing of the position can be changed now."""
    tick, position, known = at.tick, at.position, at.managed
    if not tick.is_sound:
        return f"unsound quote: bid {tick.bid:.10g}, ask {tick.ask:.10g}"
    if position.side is not known.side:
        return f"it was taken over as a {known.side.direction} and is a {position.side.direction} now"
    return _frozen(at)


def _frozen(at: Sighting) -> str | None:
    freeze = at.instrument.freeze_level
    if freeze <= 0.0:
        return None
    price, levels = at.tick.closing(at.position.side), (at.position.stop, at.position.target)
    near = min((abs(price - level) for level in levels if level is not None), default=None)
    if near is None or near > freeze:
        return None
    return f"frozen: the price is {near:.6g} from the stop or target, within {freeze:.6g}"


def why_not_there(at: Sighting, stop: float, price: float, settings: Settings) -> str | None:
    """Return why a stop cannot be placed: it would loosen, or is not clear of the market at ``price``."""
    sign, live, tick_size = at.position.side.sign, tightest(at), at.instrument.tick_size
    if not 0.0 < stop < float("inf"):
        return f"{stop:.10g} is no price"
    if live is not None and (stop - live) * sign <= tick_size / 2:
        return f"{stop:.10g} would not improve the stop at {live:.10g}"
    gap, least = (price - stop) * sign, clearance_of(at)
    if gap < least - tick_size * 1e-6:  # the last bits of a float are no distance
        return f"{stop:.10g} waits until the price is {least:.6g} beyond it, now {gap:.6g}"
    if is_spread_spike(at.tick, at.median_spread, settings.rails) and gap <= least * 1.000001:
        return f"spread spike {at.tick.spread:.6g}: the spread itself would hit {stop:.10g}"
    return None


def held(at: Sighting, kind: ActionKind) -> str | None:
    """Return why a kind of action waits: it failed a moment ago."""
    until_ms = at.managed.not_before_ms.get(kind.value, 0)
    if at.now_ms < until_ms:
        return f"failed before, tried again in {(until_ms - at.now_ms) / 1000.0:.0f} s"
    return None


def cooling(at: Sighting, cooldown_s: float) -> str | None:
    """Return why the stop stays for now: this manager moved it a moment ago."""
    left_s = cooldown_s - (at.now_ms - at.managed.moved_ms) / 1000.0
    if at.managed.moved_ms and left_s > 0.0:
        return f"moved a moment ago, cools down for {left_s:.0f} s of {cooldown_s:g} s"
    return None


def too_little(at: Sighting, memory: Managed, stop: float) -> str | None:
    """Return why a stop is no improvement worth a request; one that is absent is always worth it."""
    live = tightest(at)
    if live is None:
        return None
    gain_r, wanted_r = (stop - live) * memory.side.sign / memory.risk, memory.rules.min_change_r
    if gain_r <= 0.0:
        return f"{stop:.10g} would not improve the stop at {live:.10g}"
    if gain_r < wanted_r - 1e-9:
        return f"{gain_r:.3f} R better than {live:.10g}, at least {wanted_r:g} R is asked for"
    return None

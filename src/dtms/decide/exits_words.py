"""What Intelligent Exit is doing with a position, in words a trader reads."""

from dtms.decide.breakeven import breakeven_price
from dtms.decide.exits import propose, trailing_aim
from dtms.decide.exits_sight import Look, look_at, way_to_target
from dtms.decide.proposals import Proposed, Sighting
from dtms.domain.prices import valid_share
from dtms.settings import Settings


def explain(sighting: Sighting, settings: Settings) -> tuple[str, ...]:
    """Tell where a position stands by its rules, and what is done next or why nothing is; one line per subject."""
    look, proposed = look_at(sighting, settings), propose(sighting, settings)
    return (_standing(look), _breakeven(look), _partial(look), _trail(look), *_next(proposed))


def _standing(look: Look) -> str:
    memory = look.memory
    way = "to the target" if way_to_target(memory) is not None else "to 2 R, for want of a target"
    stop = "no stop" if memory.stop is None else f"stop {memory.stop:.10g}"
    risk = f"R is {memory.risk:.6g}" + (" (nominal: it came without a stop)" if memory.nominal_risk else "")
    scalp = "scalp, " if look.rules.is_scalp else ""
    return f"{scalp}{memory.volume} lots at {look.progress:.0%} of the way {way} ({look.r:.2f} R), {stop}, {risk}"


def _breakeven(look: Look) -> str:
    if look.memory.breakeven_done:
        return "breakeven: reached"
    price = breakeven_price(look.memory, look.at.tick, look.at.instrument, look.at.cost_money)
    return f"breakeven: at {look.rules.breakeven_progress:.0%} the stop goes to {price:.10g}, entry plus costs"


def _partial(look: Look) -> str:
    if look.memory.partial_done:
        return "partial: done"
    part = valid_share(look.at.position.volume, look.rules.partial_share, look.at.instrument)
    if part is None:
        return "partial: none, the position is too small to be divided"
    return f"partial: {part} lots are closed at {look.rules.partial_progress:.0%}"


def _trail(look: Look) -> str:
    aim = trailing_aim(look)
    told = aim if isinstance(aim, str) else f"to {aim.on_grid(look):.10g} ({aim.told(look)})"
    when = "" if look.may_trail else f", once breakeven or {look.settings.exits.active_r:g} R is reached"
    return f"trailing{when}: {told}"


def _next(proposed: Proposed) -> tuple[str, ...]:
    if proposed.proposals:
        return tuple(f"next: {proposal.rule}: {proposal.reason}" for proposal in proposed.proposals)
    return tuple(f"not now: {rule}: {told}" for rule, told in proposed.notes.items() if told != "done")

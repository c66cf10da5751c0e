"""What the Universal manager is doing with a position, in words a trader reads."""

from dtms.decide.breakeven import breakeven_price
from dtms.decide.proposals import Proposed, Sighting
from dtms.decide.trailing import Aim, aim, multiplier, volatility
from dtms.decide.universal import partial_due_r, propose
from dtms.decide.universal_sight import Look, ground, look_at
from dtms.domain.managed import TrailingMethod
from dtms.settings import Settings


def explain(sighting: Sighting, settings: Settings) -> tuple[str, ...]:
    """Tell where a position stands by its rules, and what is done next or why nothing is; one line per subject."""
    look, proposed = look_at(sighting, settings), propose(sighting, settings)
    lines = [_standing(look), _breakeven(look), _partial(look), _trail(look), _volatility(look)]
    return (*(line for line in lines if line), *_next(proposed))


def _standing(look: Look) -> str:
    memory, rules = look.memory, look.rules
    risk = f"R is {memory.risk:.6g}" + (" (nominal: it came without a stop)" if memory.nominal_risk else "")
    stop = "no stop" if memory.stop is None else f"stop {memory.stop:.10g}"
    return (
        f"{rules.strategy_type}, registered in the {rules.session} session: "
        f"{memory.volume} lots at {look.r:.2f} R, {stop}, {risk}"
    )


def _breakeven(look: Look) -> str:
    if look.memory.breakeven_done:
        return "breakeven: reached"
    price = breakeven_price(look.memory, look.at.tick, look.at.instrument, look.at.cost_money)
    return f"breakeven: at {look.rules.breakeven_r:g} R the stop goes to {price:.10g}, entry plus costs"


def _partial(look: Look) -> str:
    due, share = partial_due_r(look.rules, look.levels, look.settings), look.rules.partial_share
    if due is None or share is None:
        return ""
    return "partial: done" if look.memory.partial_done else f"partial: {share:.0%} is closed at {due:.4g} R"


def _trail(look: Look) -> str:
    rules = look.rules
    if rules.trailing is TrailingMethod.NONE:
        return "trailing: none, breakeven only"
    found = aim(ground(look))
    told = f"to {found.stop:.10g} ({found.told})" if isinstance(found, Aim) else found
    when = "" if look.memory.breakeven_done else ", once breakeven is reached"
    return f"trailing by {rules.trailing.value} on {rules.timeframe.name}{when}: {told}"


def _volatility(look: Look) -> str:
    if look.levels is None:
        return f"volatility: ATR of {look.rules.timeframe.name} is unknown"
    ratio, times = volatility(look.levels, look.rules), multiplier(look.levels, look.rules, look.settings.universal)
    return f"volatility: ATR is {ratio:.2f} × its baseline on {look.rules.timeframe.name}, multiplier {times:.3g}"


def _next(proposed: Proposed) -> tuple[str, ...]:
    if proposed.proposals:
        return tuple(f"next: {proposal.rule}: {proposal.reason}" for proposal in proposed.proposals)
    return tuple(f"not now: {rule}: {told}" for rule, told in proposed.notes.items() if told != "done")

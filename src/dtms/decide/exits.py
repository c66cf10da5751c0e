"""Intelligent Exit: breakeven, a partial profit and a trailing stop beside whoever owns the position.

| rule | when | what |
| --- | --- | --- |
| breakeven | progress 30 % (25 % for a scalp) | the stop goes to entry plus costs |
| partial | progress 60 % (40 %) | half of the position is closed; none at the minimum lot |
| trail | breakeven was reached, or the profit is 0.2 R | the stop follows at the distance of ``exits_distance.py`` |

At most one action is proposed at a look, so that each is decided on what the one before it left. What a proposal never
does: loosen a stop, cross the market, land within stops or freeze level + spread of it, change the target, or close so
much that the rest could not stand. A note says of each rule why nothing is proposed, with its figures. Minimum change
and cooldown bind trailing alone: breakeven comes once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dtms.decide.breakeven import breakeven_price
from dtms.decide.exits_distance import Distance, distance_of
from dtms.decide.exits_sight import Look, look_at
from dtms.decide.proposals import Proposal, Proposed, Sighting
from dtms.decide.stop_rules import clearance_of, cooling, held, too_little, untouchable, why_not_there
from dtms.domain.actions import ActionKind, ClosePosition, MoveStop
from dtms.domain.managed import Managed
from dtms.domain.prices import away_from_market, valid_share
from dtms.settings import Settings


def propose(sighting: Sighting, settings: Settings) -> Proposed:
    """Propose what protects the position's profit now, one action at most, and say why there is no more."""
    look = look_at(sighting, settings)
    changed = None if look.memory is sighting.managed else look.memory
    if refused := untouchable(look.at):
        return Proposed(notes={"position": refused}, memory=changed)
    if look.memory.volume != sighting.managed.volume:
        look.notes["volume"] = f"was {sighting.managed.volume} lots, is {look.memory.volume}: adopted"
    found = next((p for rule in _RULES if (p := rule(look)) is not None), None)
    return Proposed(proposals=() if found is None else (found,), notes=look.notes, memory=changed)


# --- breakeven -----------------------------------------------------------------------------------------------------


def _breakeven(look: Look) -> Proposal | None:
    """Move the stop to entry plus costs, once enough of the way is gone."""
    told = _breakeven_waits(look)
    if told is None:
        wanted = breakeven_price(look.memory, look.at.tick, look.at.instrument, look.at.cost_money)
        told = why_not_there(look.at, wanted, look.price, look.settings)
        if told is None:
            due = f"breakeven at {look.rules.breakeven_progress:.0%}"
            after = replace(look.memory, moved_ms=look.at.now_ms, breakeven_done=True)
            return _moved(look, ActionKind.BREAKEVEN, wanted, f"{_told(look)}, {due}: entry plus costs", after)
    look.notes["breakeven"] = told
    return None


def _breakeven_waits(look: Look) -> str | None:
    if look.memory.breakeven_done:
        return "done"
    if look.progress < look.rules.breakeven_progress:
        return f"at {look.progress:.0%} of the way, due at {look.rules.breakeven_progress:.0%}"
    return held(look.at, ActionKind.BREAKEVEN)


# --- partial -------------------------------------------------------------------------------------------------------


def _partial(look: Look) -> Proposal | None:
    """Take a share of the profit, once enough of the way is gone."""
    told = _partial_waits(look)
    if told is None:
        position, share = look.at.position, look.rules.partial_share
        part = valid_share(position.volume, share, look.at.instrument)
        if part is not None:
            action = ClosePosition(
                kind=ActionKind.TAKE_PARTIAL,
                position=position.ticket,
                symbol=position.symbol,
                side=position.side,
                volume=part,
                expected_volume=position.volume,
            )
            reason = f"{_told(look)}, partial at {look.rules.partial_progress:.0%}: {share:.0%} of {position.volume}"
            return Proposal(action=action, rule="partial", reason=reason, after=replace(look.memory, partial_done=True))
        told = f"{share:.0%} of {position.volume} lots is no part that leaves a valid rest (minimum lot)"
    look.notes["partial"] = told
    return None


def _partial_waits(look: Look) -> str | None:
    if look.memory.partial_done:
        return "done"
    if look.progress < look.rules.partial_progress:
        return f"at {look.progress:.0%} of the way, due at {look.rules.partial_progress:.0%}"
    return held(look.at, ActionKind.TAKE_PARTIAL)


# --- trailing ------------------------------------------------------------------------------------------------------


def _trail(look: Look) -> Proposal | None:
    """Bring the stop after the price."""
    aim = _trail_waits(look) or trailing_aim(look)
    if isinstance(aim, str):
        look.notes["trail"] = aim
        return None
    # Rounding brings a stop no nearer to the price: what is too little before it, is too little after it.
    stop = aim.raw
    told = too_little(look.at, look.memory, stop)
    if told is None:
        stop = aim.on_grid(look)
        told = too_little(look.at, look.memory, stop) or why_not_there(look.at, stop, look.price, look.settings)
    if told is not None:
        look.notes["trail"] = told
        return None
    after = replace(look.memory, moved_ms=look.at.now_ms, trailing_active=True)
    return _moved(look, ActionKind.TRAIL, stop, aim.told(look), after)


def _trail_waits(look: Look) -> str | None:
    if not look.may_trail:
        return f"at {look.r:.2f} R, waits for breakeven or {look.settings.exits.active_r:g} R"
    return held(look.at, ActionKind.TRAIL) or cooling(look.at, look.rules.cooldown_s)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the stop belongs, before it is put on the grid, and by which distance."""

    raw: float
    distance: Distance
    atr: float

    def on_grid(self, look: Look) -> float:
        return away_from_market(self.raw, look.memory.side, look.at.instrument)

    def told(self, look: Look) -> str:
        return f"{self.distance.told} of {self.atr:.6g} behind {look.price:.10g}"


def trailing_aim(look: Look) -> Aim | str:
    """Return where the stop belongs, or why there is no such place."""
    if look.levels is None:
        return "ATR of M15 is unknown"
    distance = distance_of(look.rules, look.at.gates, look.at.vix, look.settings.exits)
    behind = max(distance.atr * look.levels.atr, clearance_of(look.at))
    return Aim(look.price - look.memory.side.sign * behind, distance, look.levels.atr)


# --- what was decided ------------------------------------------------------------------------------------------------


def _moved(look: Look, kind: ActionKind, stop: float, reason: str, after: Managed) -> Proposal:
    position = look.at.position
    action = MoveStop(
        kind=kind,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=stop,
        target=position.target,
        expected_stop=position.stop,
    )
    rule = "breakeven" if kind is ActionKind.BREAKEVEN else "trail"
    return Proposal(action=action, rule=rule, reason=reason, after=after)


def _told(look: Look) -> str:
    return f"{look.progress:.0%} of the way ({look.r:.2f} R)"


_RULES: tuple[Callable[[Look], Proposal | None], ...] = (_breakeven, _partial, _trail)
"""Most urgent first."""

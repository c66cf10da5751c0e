"""The Universal SL/TP manager: breakeven, partial and trailing by the rules that were frozen into the trade.

At most one action is proposed at a look, so that each is decided on what the one before it left. What a proposal never
does: loosen a stop, cross the market, land within stops or freeze level + spread of it, change the target, or close so
much that the rest could not stand. A note says of each rule why nothing is proposed, with its figures.

The minimum change binds trailing alone: a stop that stands a little before breakeven would otherwise never get there,
and nothing would trail.
"""

from collections.abc import Callable
from dataclasses import replace

from dtms.decide.breakeven import breakeven_price
from dtms.decide.proposals import Proposal, Proposed, Sighting
from dtms.decide.stop_rules import cooling, held, too_little, untouchable, why_not_there
from dtms.decide.trailing import Aim, aim, volatility
from dtms.decide.universal_sight import Look, ground, look_at
from dtms.domain.actions import Action, ActionKind, ClosePosition, MoveStop
from dtms.domain.managed import TrailingMethod, UniversalRules
from dtms.domain.prices import away_from_market, valid_share
from dtms.market.levels import Levels
from dtms.settings import Settings

NO_ATR = "ATR of {symbol} on {timeframe} is unknown: the stop of {ticket} trails at a fixed distance"
"""Without figures that change, so that it can be told once."""


def propose(sighting: Sighting, settings: Settings) -> Proposed:
    """Propose what the position's rules ask for now, one action at most, and say why there is no more."""
    look = look_at(sighting, settings)
    changed = None if look.memory is sighting.managed else look.memory
    if refused := untouchable(look.at):
        return Proposed(notes={"position": refused}, memory=changed)
    if look.memory.volume != sighting.managed.volume:
        look.notes["volume"] = f"was {sighting.managed.volume} lots, is {look.memory.volume}: adopted"
    found = next((p for rule in _RULES if (p := rule(look)) is not None), None)
    proposals = () if found is None else (found,)
    return Proposed(proposals=proposals, notes=look.notes, alerts=look.alerts, memory=changed)


# --- breakeven -----------------------------------------------------------------------------------------------------


def _breakeven(look: Look) -> Proposal | None:
    """Move the stop to entry plus costs, once the trade has made its R."""
    told = _breakeven_waits(look)
    if told is None:
        wanted = breakeven_price(look.memory, look.at.tick, look.at.instrument, look.at.cost_money)
        told = why_not_there(look.at, wanted, look.price, look.settings)
        if told is None:
            reason = f"{look.r:.2f} R reached, breakeven at {look.rules.breakeven_r:g} R: entry plus costs"
            return _moved(look, ActionKind.BREAKEVEN, "breakeven", wanted, reason)
    look.notes["breakeven"] = told
    return None


def _breakeven_waits(look: Look) -> str | None:
    if look.memory.breakeven_done:
        return "done"
    if look.r < look.rules.breakeven_r:
        return f"at {look.r:.2f} R, due at {look.rules.breakeven_r:g} R"
    return held(look.at, ActionKind.BREAKEVEN) or cooling(look.at, look.rules.cooldown_s)


# --- partial -------------------------------------------------------------------------------------------------------


def partial_due_r(rules: UniversalRules, levels: Levels | None, settings: Settings) -> float | None:
    """Return at how many R the partial is taken now, earlier while volatility is high; None without a partial."""
    if rules.partial_r is None:
        return None
    is_early = levels is not None and volatility(levels, rules) > settings.universal.early_partial
    return rules.partial_r * settings.universal.early_partial_factor if is_early else rules.partial_r


def _partial(look: Look) -> Proposal | None:
    """Close the strategy's share once the trade has made its R."""
    due = partial_due_r(look.rules, look.levels, look.settings)
    share, position = look.rules.partial_share, look.at.position
    if due is None or share is None:
        return None
    told = _partial_waits(look, due)
    if told is None:
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
            reason = f"{look.r:.2f} R reached, {share:.0%} of {position.volume} lots due at {due:g} R"
            return Proposal(action=action, rule="partial", reason=reason, after=replace(look.memory, partial_done=True))
        told = f"{share:.0%} of {position.volume} lots is no part that leaves a valid rest (minimum lot)"
    look.notes["partial"] = told
    return None


def _partial_waits(look: Look, due: float) -> str | None:
    if look.memory.partial_done:
        return "done"
    if look.r < due:
        return f"at {look.r:.2f} R, due at {due:.4g} R"
    return held(look.at, ActionKind.TAKE_PARTIAL)


# --- trailing ------------------------------------------------------------------------------------------------------


def _trail(look: Look) -> Proposal | None:
    """Bring the stop after the price by the strategy's method, once breakeven was reached."""
    told = _trail_waits(look)
    if told is None:
        found = aim(ground(look))
        if isinstance(found, Aim):
            stop = away_from_market(found.stop, look.memory.side, look.at.instrument)
            told = too_little(look.at, look.memory, stop) or why_not_there(look.at, stop, look.price, look.settings)
            _warn_of_fallback(look, found)
            if told is None:
                return _moved(look, ActionKind.TRAIL, "trail", stop, found.told)
            told = f"{found.told}: {told}"
        else:
            told = found
    look.notes["trail"] = told
    return None


def _trail_waits(look: Look) -> str | None:
    if not look.memory.breakeven_done:
        return "waits for breakeven"
    if look.rules.trailing is TrailingMethod.NONE:
        return f"{look.rules.strategy_type} does not trail"
    return held(look.at, ActionKind.TRAIL) or cooling(look.at, look.rules.cooldown_s)


def _warn_of_fallback(look: Look, found: Aim) -> None:
    if found.is_fallback:
        memory, timeframe = look.memory, look.rules.timeframe.name
        look.alerts.append(NO_ATR.format(symbol=memory.symbol, timeframe=timeframe, ticket=memory.ticket))


# --- what was decided ------------------------------------------------------------------------------------------------


def _moved(look: Look, kind: ActionKind, rule: str, stop: float, reason: str) -> Proposal:
    position, memory = look.at.position, look.memory
    action: Action = MoveStop(
        kind=kind,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=stop,
        target=position.target,
        expected_stop=position.stop,
    )
    after = replace(
        memory,
        moved_ms=look.at.now_ms,
        breakeven_done=True,  # trailing begins after it
        trailing_active=memory.trailing_active or kind is ActionKind.TRAIL,
    )
    return Proposal(action=action, rule=rule, reason=reason, after=after)


_RULES: tuple[Callable[[Look], Proposal | None], ...] = (_breakeven, _partial, _trail)
"""Most urgent first."""

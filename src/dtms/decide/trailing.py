"""Where a trailing stop belongs, by method: candidates before they are put on the grid, and why there is none.

| method | a long position's stop (mirrored for a short one) |
| --- | --- |
| atr | bid − ATR × multiplier |
| structure | lowest of the last ``lookback`` confirmed swing lows − ATR × buffer |
| structure_atr_hybrid | the closer to the price of these two |
| micro_choch | last confirmed swing low of M1 − 0.5 ATR |
| displacement_or_structure | after an impulse its first candle's low − 0.3 ATR, else structure, else atr |

The multiplier is the strategy's × the session's factor × 1.2 while ATR is above 1.5 × its baseline on that timeframe.
While ATR is unknown the distance is fixed: in spreads, and never less than a share of the price. A level that is not
clear of the market was passed by it, and is none to trail by.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dtms.domain.managed import TrailingMethod, UniversalRules
from dtms.domain.market import Side
from dtms.market.levels import Levels
from dtms.settings import UniversalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a stop trails over; ``price`` closes the position, ``clearance`` is a stop's least distance from it."""

    side: Side
    price: float
    clearance: float
    spread: float
    """The usual one where it is known."""
    rules: UniversalRules
    levels: Levels | None
    """Of the rules' timeframe; None while they are not known."""
    settings: UniversalSettings


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the stop belongs, and by what, with figures."""

    stop: float
    told: str
    is_fallback: bool = False


def volatility(levels: Levels, rules: UniversalRules) -> float:
    """Return ATR over its baseline on the same timeframe: that of the registration, where it was known then."""
    baseline = rules.baseline_atr or levels.atr_baseline
    return levels.atr / baseline if baseline > 0.0 else 1.0


def multiplier(levels: Levels, rules: UniversalRules, settings: UniversalSettings) -> float:
    """Return how many ATR a stop trails behind the price, with the factors of session and volatility."""
    usual = rules.atr_multiplier * rules.session_factor
    return usual * settings.high_volatility_factor if volatility(levels, rules) > settings.high_volatility else usual


def aim(ground: Ground) -> Aim | str:
    """Return where the stop belongs by the rules' method, or why there is no such place."""
    if ground.rules.trailing is TrailingMethod.NONE:
        return f"{ground.rules.strategy_type} does not trail"
    if ground.levels is None:
        return _fixed(ground)
    return _METHODS[ground.rules.trailing](ground, ground.levels)


def _fixed(ground: Ground) -> Aim:
    share = ground.price * ground.settings.fallback_percent / 100.0
    distance = max(ground.spread * ground.settings.fallback_spreads, share, ground.clearance)
    told = f"ATR of {ground.rules.timeframe.name} is unknown: a fixed {distance:.6g} behind {ground.price:.10g}"
    return Aim(ground.price - ground.side.sign * distance, told, is_fallback=True)


def _atr(ground: Ground, levels: Levels) -> Aim:
    times = multiplier(levels, ground.rules, ground.settings)
    distance = max(times * levels.atr, ground.clearance)
    told = f"{times:.3g} ATR({levels.timeframe.name}) of {levels.atr:.6g} behind {ground.price:.10g}"
    return Aim(ground.price - ground.side.sign * distance, told)


def _structure(ground: Ground, levels: Levels) -> Aim | str:
    return _swing(ground, levels, ground.rules.lookback, ground.rules.buffer_atr)


def _micro(ground: Ground, levels: Levels) -> Aim | str:
    return _swing(ground, levels, 1, ground.settings.micro_buffer_atr)


def _swing(ground: Ground, levels: Levels, lookback: int, buffer_atr: float) -> Aim | str:
    sign = ground.side.sign
    swings = (levels.swing_lows if ground.side is Side.LONG else levels.swing_highs)[-lookback:]
    if not swings:
        return f"no confirmed swing on {levels.timeframe.name}"
    level = sign * min(sign * swing.price for swing in swings)
    told = f"swing {level:.10g} on {levels.timeframe.name}, {buffer_atr:g} ATR of {levels.atr:.6g} beyond it"
    return _clear(ground, Aim(level - sign * buffer_atr * levels.atr, told))


def _hybrid(ground: Ground, levels: Levels) -> Aim:
    structure, atr = _structure(ground, levels), _atr(ground, levels)
    if isinstance(structure, str):
        return atr
    return structure if (structure.stop - atr.stop) * ground.side.sign > 0.0 else atr


def _displacement(ground: Ground, levels: Levels) -> Aim | str:
    impulse = levels.impulse
    if impulse is None or impulse.side is not ground.side:
        return f"no impulse on {levels.timeframe.name}"
    buffer_atr = ground.settings.displacement_buffer_atr
    told = f"impulse from {impulse.origin:.10g} on {levels.timeframe.name}, {buffer_atr:g} ATR beyond it"
    return _clear(ground, Aim(impulse.origin - ground.side.sign * buffer_atr * levels.atr, told))


def _displacement_or_structure(ground: Ground, levels: Levels) -> Aim:
    for method in (_displacement, _structure):
        found = method(ground, levels)
        if isinstance(found, Aim):
            return found
    return _atr(ground, levels)


def _clear(ground: Ground, found: Aim) -> Aim | str:
    if (ground.price - found.stop) * ground.side.sign < ground.clearance:
        return f"{found.told}: {found.stop:.10g} is not clear of the market at {ground.price:.10g}"
    return found


_METHODS: dict[TrailingMethod, Callable[[Ground, Levels], Aim | str]] = {
    TrailingMethod.ATR: _atr,
    TrailingMethod.STRUCTURE: _structure,
    TrailingMethod.STRUCTURE_ATR_HYBRID: _hybrid,
    TrailingMethod.MICRO_CHOCH: _micro,
    TrailingMethod.DISPLACEMENT_OR_STRUCTURE: _displacement_or_structure,
}

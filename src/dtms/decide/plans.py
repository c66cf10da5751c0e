"""What becomes of a plan now: pure, from the plan and one look at its symbol's market.

The rules in the order in which they are asked: expired; another of its bracket executed; the structure that it stands
on broke; the price ran away; old and far; then whether it is due. A price *ran away* when it is beyond the entry, in
the direction of the trade, by the class's percentage and by ``runaway_atr`` ATR(14, M15), so by the larger of both;
measured from where the price stood when the plan was made if that was further out, so that a plan may wait for a
pullback. What cannot be known now (no quote to believe) leaves a plan waiting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dtms.decide.conditions import Condition, Verdict, evaluate, parse, prices_of
from dtms.decide.conditions_facts import MarketFacts
from dtms.decide.plans_status import winner
from dtms.decide.plans_structure import broke
from dtms.domain.facts import Json
from dtms.domain.market import Tick, Timeframe
from dtms.domain.plans import OrderType, Plan, PlanStatus
from dtms.domain.symbols import class_of
from dtms.settings import PlanSettings

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Due:
    """It executes now: at ``price``, for the entry or level that is nearest; a resting order is placed at ``level``."""

    price: float
    level: float
    reason: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Waits:
    """It is not due; ``verdict`` says how its conditions stand, None when they were not asked."""

    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """It is given up, by which rule and with which figures."""

    rule: str
    reason: str
    figures: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expire:
    reason: str


Judgement = Due | Waits | Cancel | Expire


def judge(
    plan: Plan,
    facts: MarketFacts,
    settings: PlanSettings,
    *,
    others: Sequence[Plan] = (),
    condition: Condition | None = None,
) -> Judgement:
    """Say what becomes of a plan that waits, or whose order rests at the broker; any other only waits.

    Args:
        others: the plans of its bracket, itself among them or not; any others are passed over.
        condition: the plan's conditions as they were parsed, to spare reading them again.
    """
    if plan.status not in (PlanStatus.PENDING, PlanStatus.PENDING_ORDER_PLACED):
        return Waits(f"it is {plan.status.value}")
    end = _ended(plan, facts, others) or _given_up(plan, facts, settings)
    if end is not None:
        return end
    verdict = evaluate(parse(plan.conditions, plan.side) if condition is None else condition, facts)
    if plan.status is PlanStatus.PENDING_ORDER_PLACED:
        return Waits(f"its order rests at {plan.entry:.10g}", verdict)
    if not verdict.is_met:
        return Waits(verdict.summary(), verdict)
    return _at_market(plan, facts, verdict) if plan.order_type is OrderType.MARKET else _resting(plan, facts, verdict)


def judgement_json(judgement: Judgement) -> dict[str, Json]:
    """Return a judgement as it is shown: what it is, why, and every condition with its present value."""
    shown: dict[str, Json] = {"judgement": type(judgement).__name__.lower(), "reason": judgement.reason}
    match judgement:
        case Due(price=price, level=level, verdict=verdict):
            return {**shown, "price": price, "level": level, "conditions": verdict.as_json()}
        case Waits(verdict=verdict):
            return {**shown, "conditions": verdict.as_json() if verdict is not None else None}
        case Cancel(rule=rule, figures=figures):
            return {**shown, "rule": rule, "figures": dict(figures)}
        case Expire():
            return shown


# --- given up ------------------------------------------------------------------------------------------------------


def _ended(plan: Plan, facts: MarketFacts, others: Sequence[Plan]) -> Cancel | Expire | None:
    """Ask the rules that need no quote."""
    if facts.now_ms >= plan.expires_ms:
        waited_h = (facts.now_ms - plan.created_ms) / HOUR_MS
        return Expire(f"it waited {waited_h:.1f} h and expired")
    first = winner(plan, others)
    if first is not None:
        return Cancel("bracket", f"plan {first.id} of the same bracket is {first.status.value}", {"winner": first.id})
    broken = broke(plan.relies_on, plan.created_ms, facts)
    return Cancel("structure", broken) if broken is not None else None


def _given_up(plan: Plan, facts: MarketFacts, settings: PlanSettings) -> Cancel | None:
    price = facts.opening(plan.side)
    if price is None:
        return None
    return _ran_away(plan, price, facts, settings) or _too_old(plan, price, facts, settings)


def levels_of(plan: Plan) -> tuple[float, ...]:
    """Return every price at which a plan may execute, the entry first."""
    return (plan.entry, *(level for level in plan.entry_levels if level != plan.entry))


def _ran_away(plan: Plan, price: float, facts: MarketFacts, settings: PlanSettings) -> Cancel | None:
    sign = plan.side.sign
    known = (*levels_of(plan), *(() if plan.created_price is None else (plan.created_price,)))
    reference = sign * max(sign * level for level in known)
    percent = settings.runaway_percent[class_of(plan.symbol)]
    atr = _atr_m15(facts)
    limit = max(percent / 100.0 * plan.entry, settings.runaway_atr * (atr or 0.0))
    beyond = (price - reference) * sign
    if beyond <= limit:
        return None
    measure = f"{percent:g} % of the entry" + (f", {beyond / atr:.2f} ATR" if atr else ", ATR unknown")
    told = f"the price ran away: {price:.10g} is {beyond:.6g} beyond {reference:.10g}, limit {limit:.6g} ({measure})"
    return Cancel("runaway", told, {"price": price, "beyond": beyond, "limit": limit, "atr": atr})


def _atr_m15(facts: MarketFacts) -> float | None:
    if facts.view is not None:
        return facts.view.atr_m15
    patterns = facts.bars.get(Timeframe.M15)
    return patterns.atr if patterns is not None else None


def _too_old(plan: Plan, price: float, facts: MarketFacts, settings: PlanSettings) -> Cancel | None:
    age_h = (facts.now_ms - plan.created_ms) / HOUR_MS
    away = min(abs(price - level) for level in levels_of(plan))
    away_percent = 100.0 * away / plan.entry
    if age_h <= settings.stale_h or away_percent <= settings.stale_percent:
        return None
    limits = f"limits {settings.stale_h:g} h, {settings.stale_percent:g} %"
    told = f"it is {age_h:.1f} h old and the price {away_percent:.2f} % away ({limits})"
    return Cancel("stale", told, {"age_h": age_h, "away_percent": away_percent})


# --- due -----------------------------------------------------------------------------------------------------------


def _at_market(plan: Plan, facts: MarketFacts, verdict: Verdict) -> Due | Waits:
    price = facts.opening(plan.side)
    if price is None:
        return Waits(f"its conditions hold, but {facts.stale or 'no sound quote is known'}", verdict)
    level = min(levels_of(plan), key=lambda one: abs(price - one))
    away = abs(price - level)
    if plan.tolerance is not None and away > plan.tolerance:
        told = f"{price:.10g} is {away:.6g} away from {level:.10g}, tolerance {plan.tolerance:.6g}"
        return Waits(f"its conditions hold, but {told}", verdict)
    hindered = _hindered(plan, facts)
    if hindered is not None:
        return Waits(f"its conditions hold, but {hindered}", verdict)
    return Due(price, level, f"all conditions hold at {price:.10g}, {away:.6g} from {level:.10g}", verdict)


def _hindered(plan: Plan, facts: MarketFacts) -> str | None:
    """Return why stop or target could not stand if the plan executed now; None when they could.

    Both are measured from the price at which the position would be closed.
    """
    if facts.tick is None:
        return None
    price, room = facts.tick.closing(plan.side), facts.instrument.stops_level
    for name, level, sign in (("stop", plan.stop, 1), ("target", plan.target, -1)):
        if level is not None and (price - level) * plan.side.sign * sign <= room:
            return f"the price {price:.10g} has no room to the {name} {level:.10g} (at least {room:.6g})"
    return None


def _resting(plan: Plan, facts: MarketFacts, verdict: Verdict) -> Due | Waits:
    """Place an order only where it rests: a stop order beyond the price, a limit order before it."""
    price = facts.opening(plan.side)
    if price is None:
        return Waits(f"its conditions hold, but {facts.stale or 'no sound quote is known'}", verdict)
    sign = plan.side.sign if plan.order_type is OrderType.STOP else -plan.side.sign
    room = max(facts.instrument.stops_level, facts.instrument.tick_size)
    if (plan.entry - price) * sign < room:
        told = f"a {plan.order_type.value} order at {plan.entry:.10g} does not rest while the price is {price:.10g}"
        return Waits(f"its conditions hold, but {told}", verdict)
    return Due(price, plan.entry, f"all conditions hold, the order rests at {plan.entry:.10g}", verdict)


# --- when to look --------------------------------------------------------------------------------------------------


def watched_prices(plan: Plan, condition: Condition) -> tuple[float, ...]:
    """Return the prices near which a plan is looked at with every quote."""
    return tuple(dict.fromkeys((*levels_of(plan), *prices_of(condition))))


def is_near(prices: Sequence[float], tick: Tick, settings: PlanSettings) -> bool:
    """Answer whether a quote is near one of the prices."""
    margin = settings.near_percent / 100.0
    return any(tick.bid - margin * price <= price <= tick.ask + margin * price for price in prices)

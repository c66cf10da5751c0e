"""What is told of plans: one of them on the present market, and all of them together."""

from dataclasses import dataclass

from dtms.decide.conditions import Condition
from dtms.decide.conditions_facts import MarketFacts
from dtms.decide.plans import Judgement
from dtms.domain.plans import Plan
from dtms.domain.trade import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSeen:
    """A plan, how its conditions stand now, and what becomes of it on the present market."""

    plan: Plan
    facts: MarketFacts | None
    """None when its symbol's market cannot be read."""
    condition: Condition | None
    judged: Judgement | None
    """Of one that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlansStatus:
    """How plans stand as a whole; times are market milliseconds."""

    by_status: dict[str, int]
    held: dict[str, str]
    """Plans that are due and stopped: the rule."""
    stale: dict[str, str]
    """Symbols of which nothing can be believed now: why."""
    unreadable: dict[str, str]
    rounds: int
    judged: int
    last_round_ms: int | None
    age_s: float | None
    check_s: float
    halted: bool
    mode: Mode | None
    waiting_max: int

"""Conditions of a plan: data, checked once when they are written, then judged on every look at the market.

Conditions are leaves ``{"name": …, parameters}`` joined by ``{"all": […]}``, ``{"any": […]}`` and ``{"not": …}``; a
list means all of it, nothing at all means no condition. ``LEAVES`` is the list of names. What is not known is not met,
and stays so under ``not``: logic has three values (Kleene's), of which only ``HOLDS`` is met.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dtms.decide.conditions_facts import MarketFacts, NotKnown, Truth
from dtms.decide.conditions_params import Fault, InvalidConditions
from dtms.decide.conditions_reading import parse
from dtms.decide.conditions_tree import (
    JOINS,
    LEAVES,
    All,
    AnyOf,
    Condition,
    Leaf,
    Not,
    Test,
    catalogue,
    conditions_json,
    leaves_of,
    prices_of,
    timeframes_of,
)
from dtms.domain.facts import Json

__all__ = [
    "LEAVES",
    "All",
    "AnyOf",
    "Condition",
    "Fault",
    "InvalidConditions",
    "Leaf",
    "MarketFacts",
    "Not",
    "Truth",
    "Verdict",
    "catalogue",
    "conditions_json",
    "evaluate",
    "leaves_of",
    "parse",
    "prices_of",
    "timeframes_of",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a condition stands, and why: a leaf by its present value and what that is compared with, a join by parts."""

    name: str
    state: Truth
    present: str = ""
    wanted: str = ""
    parts: tuple["Verdict", ...] = ()

    @property
    def is_met(self) -> bool:
        return self.state is Truth.HOLDS

    def leaves(self) -> Iterator["Verdict"]:
        """Yield the verdicts of the leaves, from left to right."""
        if not self.parts and self.name not in JOINS:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def as_json(self) -> dict[str, Json]:
        """Return it as it is shown."""
        state: dict[str, Json] = {"name": self.name, "state": self.state.value}
        if self.name in JOINS:
            return {**state, "parts": [part.as_json() for part in self.parts]}
        return {**state, "present": self.present, "wanted": self.wanted}

    def summary(self) -> str:
        """Say what is not met yet, in a few words."""
        missing = [f"{leaf.name} ({leaf.present})" for leaf in self.leaves() if not leaf.is_met]
        return "all conditions hold" if self.is_met else f"waits for {', '.join(missing[:4]) or 'the opposite'}"


def evaluate(condition: Condition, facts: MarketFacts) -> Verdict:
    """Judge a condition and every part of it on what is known now."""
    match condition:
        case Leaf():
            return _leaf_verdict(condition, facts)
        case All(of=parts):
            verdicts = tuple([evaluate(part, facts) for part in parts])
            return Verdict("all", _weakest([v.state for v in verdicts]), parts=verdicts)
        case AnyOf(of=parts):
            verdicts = tuple([evaluate(part, facts) for part in parts])
            return Verdict("any", _OPPOSITE[_weakest([_OPPOSITE[v.state] for v in verdicts])], parts=verdicts)
        case Not(of=part):
            verdict = evaluate(part, facts)
            return Verdict("not", _OPPOSITE[verdict.state], parts=(verdict,))


_OPPOSITE = {Truth.HOLDS: Truth.FAILS, Truth.FAILS: Truth.HOLDS, Truth.UNKNOWN: Truth.UNKNOWN}


def _weakest(states: Sequence[Truth]) -> Truth:
    """Join with *and*: one that fails decides, then one that is unknown."""
    if Truth.FAILS in states:
        return Truth.FAILS
    return Truth.UNKNOWN if Truth.UNKNOWN in states else Truth.HOLDS


def _leaf_verdict(leaf: Leaf, facts: MarketFacts) -> Verdict:
    known = facts.kept.get(leaf)
    if known is None:
        known = facts.kept[leaf] = Verdict(leaf.name, *_judged(leaf.test, facts), leaf.test.wanted())
    return known


def _judged(test: Test, facts: MarketFacts) -> tuple[Truth, str]:
    try:
        judged = test.judge(facts)
    except NotKnown as error:
        return Truth.UNKNOWN, str(error)
    return Truth.HOLDS if judged.holds else Truth.FAILS, judged.present

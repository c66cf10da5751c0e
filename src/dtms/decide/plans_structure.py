"""The structure that a plan stands on: recorded when the plan is made, and its end when a bar closes beyond it."""

from collections.abc import Iterator, Mapping

from dtms.decide.conditions import All, AnyOf, Condition, Leaf
from dtms.decide.conditions_facts import MarketFacts, NotKnown
from dtms.decide.conditions_structure import STRUCTURAL, Structure
from dtms.domain.facts import Json
from dtms.domain.market import Side, Timeframe


def relied_on(condition: Condition, facts: MarketFacts) -> dict[str, Json]:
    """Return the structure that stands now and that a condition asks for, as data; nothing under a ``not``."""
    found: list[Json] = []
    for leaf in _affirmed(condition):
        structure = _standing(leaf, facts)
        if structure is not None:
            found.append(
                {
                    "condition": leaf.name,
                    "direction": structure.side.direction,
                    "timeframe": structure.timeframe.name,
                    "level": structure.level,
                }
            )
    return {"structures": found} if found else {}


def _affirmed(condition: Condition) -> Iterator[Leaf]:
    match condition:
        case Leaf():
            yield condition
        case All(of=parts) | AnyOf(of=parts):
            for part in parts:
                yield from _affirmed(part)


def _standing(leaf: Leaf, facts: MarketFacts) -> Structure | None:
    if not isinstance(leaf.test, STRUCTURAL):
        return None
    try:
        return leaf.test.stands_on(facts)
    except NotKnown:
        return None


def broke(relies_on: Mapping[str, Json], since_ms: int, facts: MarketFacts) -> str | None:
    """Return which structure a bar has closed beyond since ``since_ms``, in words; None while all of it stands."""
    structures = relies_on.get("structures")
    rows = structures if isinstance(structures, list) else []
    told = (_broke(row, since_ms, facts) for row in rows if isinstance(row, dict))
    return next((reason for reason in told if reason is not None), None)


def _broke(row: Mapping[str, Json], since_ms: int, facts: MarketFacts) -> str | None:
    level, timeframe = row["level"], Timeframe[str(row["timeframe"])]
    patterns = facts.bars.get(timeframe)
    if patterns is None or not isinstance(level, int | float):
        return None
    first = int(patterns.bars.time_ms.searchsorted(since_ms - timeframe.ms, side="right"))
    closed = patterns.bars.close[first:]
    if len(closed) == 0:
        return None
    worst = float(closed.min() if row["direction"] == Side.LONG.direction else closed.max())
    if (worst >= level) if row["direction"] == Side.LONG.direction else (worst <= level):
        return None
    return f"{row['condition']} of {timeframe.name} at {level:.10g} broke: a bar closed at {worst:.10g}"

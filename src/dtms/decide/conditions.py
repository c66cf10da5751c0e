"""Conditions of a plan: data, checked once when they are written, then judged on every look at the market.

Conditions are leaves ``{"name": …, parameters}`` joined by ``{"all": […]}``, ``{"any": […]}`` and ``{"not": …}``; a
list means all of it, nothing at all means no condition. ``LEAVES`` is the list of names. What is not known is not met,
and stays so under ``not``: logic has three values (Kleene's), of which only ``HOLDS`` is met.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dtms.decide import conditions_patterns as patterns
from dtms.decide import conditions_simple as simple
from dtms.decide.conditions_facts import Judged, MarketFacts, NotKnown, Truth
from dtms.decide.conditions_params import Beyond, Fault, InvalidConditions, Parameter, Wrong, as_json, parameters_of
from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.market.structure import BreakKind

DEPTH_MAX = 8
LEAVES_MAX = 64
_SHOWN_MAX = 60


class Test(Protocol):
    """What a leaf asks of the market; its parameters are its fields."""

    def wanted(self) -> str:
        """Say what the present value is compared with."""
        ...

    def judge(self, facts: MarketFacts) -> Judged:
        """Compare.

        Raises:
            NotKnown: what is compared is missing or too old.
        """
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    test: Test


@dataclass(frozen=True, slots=True)
class All:
    of: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    of: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    of: "Condition"


Condition = Leaf | All | AnyOf | Not


@dataclass(frozen=True, slots=True)
class _Kind:
    """A leaf's class, and the fields that its name decides."""

    cls: Callable[..., Test]
    fixed: Mapping[str, object] = field(default_factory=dict)


def _broken(kind: BreakKind, side: Side) -> _Kind:
    return _Kind(patterns.Broken, {"kind": kind, "side": side})


LEAVES: Mapping[str, _Kind] = {
    "price_above": _Kind(simple.PriceAbove),
    "price_below": _Kind(simple.PriceBelow),
    "price_near": _Kind(simple.PriceNear),
    "time_after": _Kind(simple.TimeAfter),
    "time_before": _Kind(simple.TimeBefore),
    "session": _Kind(simple.InSession),
    "min_confidence": _Kind(simple.MinConfidence),
    "bos_bull": _broken(BreakKind.BOS, Side.LONG),
    "bos_bear": _broken(BreakKind.BOS, Side.SHORT),
    "choch_bull": _broken(BreakKind.CHOCH, Side.LONG),
    "choch_bear": _broken(BreakKind.CHOCH, Side.SHORT),
    "order_block": _Kind(patterns.AtOrderBlock),
    "rejection_wick": _Kind(patterns.RejectionWick),
    "liquidity_sweep": _Kind(patterns.Swept),
    "fvg_bull": _Kind(patterns.InGap, {"side": Side.LONG}),
    "fvg_bear": _Kind(patterns.InGap, {"side": Side.SHORT}),
    "inside_bar": _Kind(patterns.InsideBar),
    "equal_highs": _Kind(patterns.EqualSwings, {"of": Side.LONG}),
    "equal_lows": _Kind(patterns.EqualSwings, {"of": Side.SHORT}),
    "vwap_deviation": _Kind(patterns.VwapDeviation),
    "bb_squeeze": _Kind(patterns.Squeezed),
    "bb_expansion": _Kind(patterns.Expanding),
    "rsi_above": _Kind(patterns.RsiBeyond, {"where": Beyond.ABOVE}),
    "rsi_below": _Kind(patterns.RsiBeyond, {"where": Beyond.BELOW}),
    "ema_alignment": _Kind(patterns.Aligned),
    "atr_above": _Kind(patterns.AtrBeyond, {"where": Beyond.ABOVE}),
    "atr_below": _Kind(patterns.AtrBeyond, {"where": Beyond.BELOW}),
    "volume_ratio": _Kind(patterns.VolumeRatio),
    "spread_below": _Kind(simple.SpreadBelow),
    "score_above": _Kind(simple.ScoreAbove),
    "vix_below": _Kind(simple.VixBelow),
    "news_clear": _Kind(simple.NewsClear),
}

_JOINS = ("all", "any", "not")


# --- reading -------------------------------------------------------------------------------------------------------


def parse(data: object, side: Side | None = None, path: str = "conditions") -> Condition:
    """Read conditions; ``side`` is the direction of leaves that name none.

    Raises:
        InvalidConditions: with every fault, each by its path in the data and with near matches.
    """
    if data is None or data == {} or data == []:
        return All(())
    reading = _Parser(side)
    found = reading.condition(data, path, 0)
    if found is None:
        raise InvalidConditions(reading.faults)
    return found


class _Parser:
    """One reading of one tree; every fault is noted, and a part with a fault is None."""

    def __init__(self, side: Side | None) -> None:
        self._side = side
        self._leaves = 0
        self.faults: list[Fault] = []

    def condition(self, data: object, path: str, depth: int) -> Condition | None:
        if depth > DEPTH_MAX:
            self._note(path, f"is nested more than {DEPTH_MAX} deep")
        elif isinstance(data, list):
            return self._join(All, data, path, depth)
        elif not isinstance(data, dict):
            self._note(path, "must be an object with a name, or with one of all, any, not")
        elif "name" in data:
            return self._leaf(data, path)
        elif len(data) == 1 and (join := next(iter(data))) in _JOINS:
            return self._joined(join, data[join], f"{path}.{join}", depth)
        else:
            self._note_no_condition([str(key) for key in data], path)
        return None

    def _joined(self, join: str, of: object, path: str, depth: int) -> Condition | None:
        if join == "not":
            inner = self.condition(of, path, depth + 1)
            return None if inner is None else Not(inner)
        if isinstance(of, list):
            return self._join(All if join == "all" else AnyOf, of, path, depth)
        self._note(path, "must be a list of conditions")
        return None

    def _join(self, join: type[All] | type[AnyOf], of: list[object], path: str, depth: int) -> Condition | None:
        if not 0 < len(of) <= LEAVES_MAX:
            self._note(path, f"must have 1 to {LEAVES_MAX} conditions")
            return None
        parts = [self.condition(part, f"{path}[{row}]", depth + 1) for row, part in enumerate(of)]
        sound = tuple(part for part in parts if part is not None)
        return join(sound) if len(sound) == len(parts) else None

    def _note_no_condition(self, keys: Sequence[str], path: str) -> None:
        near = tuple(word for key in keys[:LEAVES_MAX] for word in _near(key, ("name", *_JOINS)))
        meant = next((key for key in keys if key in LEAVES), None)
        hint = f': write {{"name": "{meant}", …}}' if meant else ""
        self._note(path, f"must have a name, or exactly one of all, any, not{hint}", near)

    def _leaf(self, data: Mapping[str, object], path: str) -> Leaf | None:
        self._leaves += 1
        if self._leaves == LEAVES_MAX + 1:
            self._note(path, f"is one of more than {LEAVES_MAX} conditions")
        name = data["name"]
        kind = LEAVES.get(name) if isinstance(name, str) else None
        if kind is None or not isinstance(name, str):
            near = _near(name, LEAVES) if isinstance(name, str) else ()
            self._note(f"{path}.name", f"no condition is called {_shown(name)}", near)
            return None
        declared, before = parameters_of(kind.cls), len(self.faults)
        self._note_strangers([key for key in data if key != "name" and key not in declared], declared, path)
        values = self._values(declared, data, path)
        is_sound = len(self.faults) == before and self._leaves <= LEAVES_MAX
        return self._made(name, kind, values, path) if is_sound else None

    def _made(self, name: str, kind: _Kind, values: Mapping[str, object], path: str) -> Leaf | None:
        try:
            return Leaf(name, kind.cls(**kind.fixed, **values))
        except Wrong as error:
            self._note(path, str(error))
            return None

    def _note_strangers(self, keys: Sequence[str], declared: Mapping[str, Parameter], path: str) -> None:
        message = f"is no parameter of it (there are {', '.join(declared) or 'none'})"
        for key in keys:
            self._note(f"{path}.{str(key)[:_SHOWN_MAX]}", message, _near(str(key), declared))

    def _values(self, declared: Mapping[str, Parameter], data: Mapping[str, object], path: str) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, parameter in declared.items():
            given = data.get(name)
            try:
                if given is not None:
                    values[name] = parameter.rule.read(given)
                elif parameter.is_own_side and self._side is not None:
                    values[name] = self._side
                elif parameter.is_required:
                    self._note(f"{path}.{name}", f"is required: {parameter.rule.told}")
            except Wrong as error:
                self._note(f"{path}.{name}", str(error))
        return values

    def _note(self, path: str, message: str, near: Sequence[str] = ()) -> None:
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        self.faults.append(Fault(path, message + meant, tuple(near)))


def _near(word: str, words: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(word.strip().lower()[:_SHOWN_MAX], list(words), n=3, cutoff=0.6))


def _shown(value: object) -> str:
    return repr(value[:_SHOWN_MAX]) if isinstance(value, str) else f"a {type(value).__name__}"


def conditions_json(condition: Condition) -> Json:
    """Return the condition as data, with every parameter that was left to its default; ``parse`` reads it back."""
    match condition:
        case All(of=()):
            return {}
        case All(of=parts):
            return {"all": [conditions_json(part) for part in parts]}
        case AnyOf(of=parts):
            return {"any": [conditions_json(part) for part in parts]}
        case Not(of=part):
            return {"not": conditions_json(part)}
        case Leaf(name=name, test=test):
            return {"name": name, **_parameters_json(name, test)}


def _parameters_json(name: str, test: Test) -> dict[str, Json]:
    return {parameter: as_json(getattr(test, parameter)) for parameter in parameters_of(LEAVES[name].cls)}


def leaves_of(condition: Condition) -> Iterator[Leaf]:
    """Yield every leaf, from left to right."""
    match condition:
        case Leaf():
            yield condition
        case Not(of=part):
            yield from leaves_of(part)
        case All(of=parts) | AnyOf(of=parts):
            for part in parts:
                yield from leaves_of(part)


def catalogue() -> list[Json]:
    """Describe every condition: its name, what it means, and its parameters."""
    return [
        {
            "name": name,
            "told": (kind.cls.__doc__ or "").split(";")[0],
            "parameters": [_parameter_json(parameter) for parameter in parameters_of(kind.cls).values()],
        }
        for name, kind in LEAVES.items()
    ]


def _parameter_json(parameter: Parameter) -> Json:
    is_required = parameter.is_required and not parameter.is_own_side
    return {"name": parameter.name, "value": parameter.rule.told, "required": is_required}


# --- judging -------------------------------------------------------------------------------------------------------


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
        if not self.parts and self.name not in _JOINS:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def as_json(self) -> dict[str, Json]:
        """Return it as it is shown."""
        state: dict[str, Json] = {"name": self.name, "state": self.state.value}
        if self.name in _JOINS:
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
        known = facts.kept[leaf] = _judged(leaf.test, facts)
    return Verdict(leaf.name, known[0], known[1], leaf.test.wanted())


def _judged(test: Test, facts: MarketFacts) -> tuple[Truth, str]:
    try:
        judged = test.judge(facts)
    except NotKnown as error:
        return Truth.UNKNOWN, str(error)
    return Truth.HOLDS if judged.holds else Truth.FAILS, judged.present

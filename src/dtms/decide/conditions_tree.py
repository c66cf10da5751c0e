"""What conditions are made of: leaves, each with a test and its parameters, joined by *all*, *any* and *not*.

``LEAVES`` is the list of all names that can be written.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dtms.decide import conditions_bars as bars
from dtms.decide import conditions_simple as simple
from dtms.decide import conditions_structure as structure
from dtms.decide.conditions_facts import Judged, MarketFacts
from dtms.decide.conditions_params import Beyond, Parameter, as_json, parameters_of
from dtms.domain.facts import Json
from dtms.domain.market import Side, Timeframe
from dtms.market.structure import BreakKind


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
class LeafKind:
    """A leaf's class, and the fields that its name decides."""

    cls: Callable[..., Test]
    fixed: Mapping[str, object] = field(default_factory=dict)


def _broken(kind: BreakKind, side: Side) -> LeafKind:
    return LeafKind(structure.Broken, {"kind": kind, "side": side})


LEAVES: Mapping[str, LeafKind] = {
    "price_above": LeafKind(simple.PriceAbove),
    "price_below": LeafKind(simple.PriceBelow),
    "price_near": LeafKind(simple.PriceNear),
    "time_after": LeafKind(simple.TimeAfter),
    "time_before": LeafKind(simple.TimeBefore),
    "session": LeafKind(simple.InSession),
    "min_confidence": LeafKind(simple.MinConfidence),
    "bos_bull": _broken(BreakKind.BOS, Side.LONG),
    "bos_bear": _broken(BreakKind.BOS, Side.SHORT),
    "choch_bull": _broken(BreakKind.CHOCH, Side.LONG),
    "choch_bear": _broken(BreakKind.CHOCH, Side.SHORT),
    "order_block": LeafKind(structure.AtOrderBlock),
    "rejection_wick": LeafKind(bars.RejectionWick),
    "liquidity_sweep": LeafKind(structure.Swept),
    "fvg_bull": LeafKind(structure.InGap, {"side": Side.LONG}),
    "fvg_bear": LeafKind(structure.InGap, {"side": Side.SHORT}),
    "inside_bar": LeafKind(bars.InsideBar),
    "equal_highs": LeafKind(structure.EqualSwings, {"of": Side.LONG}),
    "equal_lows": LeafKind(structure.EqualSwings, {"of": Side.SHORT}),
    "vwap_deviation": LeafKind(bars.VwapDeviation),
    "bb_squeeze": LeafKind(bars.Squeezed),
    "bb_expansion": LeafKind(bars.Expanding),
    "rsi_above": LeafKind(bars.RsiBeyond, {"where": Beyond.ABOVE}),
    "rsi_below": LeafKind(bars.RsiBeyond, {"where": Beyond.BELOW}),
    "ema_alignment": LeafKind(bars.Aligned),
    "atr_above": LeafKind(bars.AtrBeyond, {"where": Beyond.ABOVE}),
    "atr_below": LeafKind(bars.AtrBeyond, {"where": Beyond.BELOW}),
    "volume_ratio": LeafKind(bars.VolumeRatio),
    "spread_below": LeafKind(simple.SpreadBelow),
    "score_above": LeafKind(simple.ScoreAbove),
    "vix_below": LeafKind(simple.VixBelow),
    "news_clear": LeafKind(simple.NewsClear),
}

JOINS = ("all", "any", "not")


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


def timeframes_of(condition: Condition) -> frozenset[Timeframe]:
    """Return the timeframes of which a condition needs bars."""
    found = (getattr(leaf.test, "timeframe", None) for leaf in leaves_of(condition))
    return frozenset(of for of in found if isinstance(of, Timeframe))


def prices_of(condition: Condition) -> tuple[float, ...]:
    """Return the prices that a condition names."""
    priced = (simple.PriceAbove, simple.PriceBelow, simple.PriceNear)
    return tuple(leaf.test.price for leaf in leaves_of(condition) if isinstance(leaf.test, priced))


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

"""Values to store: plain ones for scenarios, arbitrary ones for round trips."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

from hypothesis import strategies as st

from dtms.domain.actions import ActionKind, ClosePosition, Intent, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Trade
from dtms.ports.store import Evaluation

T = TypeVar("T")


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self, market_ms: int = 1_700_000_000_000, machine_s: float = 1000.0) -> None:
        self.now_ms = market_ms
        self.now_s = machine_s

    def market_ms(self) -> int:
        return self.now_ms

    def machine_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep_market(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    async def sleep_machine(self, seconds: float) -> None:
        self.now_s += seconds


def trade(ticket: int = 1, **changes: Any) -> Trade:
    plain = Trade(
        ticket=ticket,
        identifier=ticket,
        login=7,
        server="Broker-Demo",
        symbol="EURUSDc",
        side=Side.LONG,
        entry=1.08512,
        initial_volume=Decimal("0.10"),
        initial_stop=1.08025,
        risk=0.00487,
        nominal_risk=False,
        registered_ms=1_700_000_000_000 + ticket,
        opened_ms=1_700_000_000_000,
        volume=Decimal("0.10"),
        stop=1.08025,
        target=None,
    )
    return replace(plain, **changes)


def intent(number: int = 1, ticket: int = 1, **changes: Any) -> Intent:
    action = ClosePosition(
        kind=ActionKind.CLOSE,
        position=ticket,
        symbol="EURUSDc",
        side=Side.LONG,
        volume=Decimal("0.10"),
        expected_volume=Decimal("0.10"),
    )
    plain = Intent(
        number=number, ticket=ticket, action=action, serves=None, state=IntentState.SENDING, token=1, created_ms=5
    )
    return replace(plain, **changes)


def fact(ticket: int | None = 1, kind: FactKind = FactKind.TRANSITION, **changes: Any) -> Fact:
    return replace(Fact(kind=kind, ticket=ticket, market_ms=1_700_000_000_000, summary="what happened"), **changes)


def evaluation(symbol: str = "EURUSDc", bar_ms: int = 900_000, **changes: Any) -> Evaluation:
    return replace(Evaluation(symbol=symbol, direction="BUY", bar_ms=bar_ms, score=-3.25, regime="trend"), **changes)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WHOLE = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PRICE = st.floats(min_value=0, max_value=1e307, exclude_min=True, allow_nan=False)
LOTS = st.decimals(min_value=0, max_value=10**9, places=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)

BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: WHOLE,
    str: TEXT,
    bool: st.booleans(),
    float: FINITE,
    Decimal: LOTS,
}


def any_of(cls: type[T], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Draw values of a dataclass with every field set, whatever its default."""
    hints = typing.get_type_hints(cls)
    drawn = {f.name: given[f.name] if f.name in given else _of_type(hints[f.name]) for f in fields(cls)}  # type: ignore[arg-type]
    return st.builds(cls, **drawn)


def _of_type(kind: Any) -> st.SearchStrategy[Any]:
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return st.one_of([st.none() if arg is types.NoneType else _of_type(arg) for arg in args])
    if origin is tuple:
        return st.lists(_of_type(args[0]), max_size=3).map(tuple)
    if origin is frozenset:
        return st.frozensets(_of_type(args[0]))
    if origin is Mapping:
        return st.dictionaries(TEXT, JSON, max_size=3)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    assert is_dataclass(kind), kind
    return any_of(kind)  # type: ignore[arg-type]

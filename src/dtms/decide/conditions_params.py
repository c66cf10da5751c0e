"""The parameters of a condition: fields annotated with how their JSON value is read, and what may stand there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from dtms.domain.errors import DtmsError
from dtms.domain.facts import Json
from dtms.domain.market import Side, Timeframe
from dtms.market.regime import Session

TIMEFRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1)
"""Those of which bars are read."""
_TEXT_MAX = 40
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one place of the data, and what may have been meant there."""

    path: str
    message: str
    near: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        return {"path": self.path, "message": self.message, "near": list(self.near)}


class InvalidConditions(DtmsError):
    """Conditions that cannot be evaluated: an error of whoever wrote them, with every fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class Wrong(Exception):
    """A value that a parameter cannot take; the message says what it can."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (UTC ms), or with ``is_daily`` a time of every day (ms since midnight UTC)."""

    ms: int
    is_daily: bool
    told: str

    def is_past(self, now_ms: int) -> bool:
        """Answer whether it is that late; a daily time begins anew at midnight UTC."""
        return (now_ms % _DAY_MS if self.is_daily else now_ms) >= self.ms


@dataclass(frozen=True, slots=True)
class Rule:
    """How a value is read (raises ``Wrong``), and in words what may stand there."""

    read: Callable[[object], object]
    told: str


def number(low: float, high: float) -> Rule:
    """Make the rule of a number within closed bounds."""
    told = f"a number from {low:.10g} to {high:.10g}"

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Wrong(f"must be {told}")
        return float(value)

    return Rule(read, told)


def whole(low: int, high: int) -> Rule:
    """Make the rule of a whole number within closed bounds."""
    told = f"a whole number from {low} to {high}"
    within = number(low, high)

    def read(value: object) -> int:
        given = within.read(value) if isinstance(value, int | float) else None
        if not isinstance(given, float) or not given.is_integer():
            raise Wrong(f"must be {told}")
        return int(given)

    return Rule(read, told)


def _choice(words: Mapping[str, object], value: object) -> object:
    word = value.strip().lower() if isinstance(value, str) and len(value) <= _TEXT_MAX else None
    found = next((meant for name, meant in words.items() if name.lower() == word), None)
    if found is None:
        raise Wrong(f"must be one of {', '.join(words)}")
    return found


def _chosen(words: Mapping[str, object]) -> Rule:
    return Rule(lambda value: _choice(words, value), f"one of {', '.join(words)}")


class Beyond(Enum):
    """On which side of a level."""

    ABOVE = 1
    BELOW = -1


_SESSIONS: Mapping[str, object] = {session.value: session for session in Session}


def _read_sessions(value: object) -> tuple[Session, ...]:
    listed = value if isinstance(value, list) else [value]
    if not 0 < len(listed) <= len(_SESSIONS):
        raise Wrong(f"must be one or more of {', '.join(_SESSIONS)}")
    named = [_choice(_SESSIONS, one) for one in listed]
    return tuple(session for session in Session if session in named)


_MOMENT = "a UTC time of day like 13:30, or an instant with its zone like 2026-07-01T13:30:00Z"


def _read_moment(value: object) -> Moment:
    found = _moment(value.strip()) if isinstance(value, str) and len(value) <= _TEXT_MAX else None
    if found is None:
        raise Wrong(f"must be {_MOMENT}")
    return found


def _moment(text: str) -> Moment | None:
    hours, colon, minutes = text.partition(":")
    if colon and len(hours) == len(minutes) == 2 and text.isascii() and (hours + minutes).isdigit():
        ms = (int(hours) * 60 + int(minutes)) * 60_000
        return Moment(ms, is_daily=True, told=text) if int(minutes) < 60 and ms < _DAY_MS else None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return Moment(int(at.timestamp() * 1000), is_daily=False, told=text) if at.tzinfo is not None else None


OWN_SIDE = _chosen({side.direction: side for side in Side})
"""The rule of a direction that is the plan's own unless given."""

Price = Annotated[float, number(1e-9, 1e12)]
OnBars = Annotated[Timeframe, _chosen({tf.name: tf for tf in TIMEFRAMES})]
ForSide = Annotated[Side, OWN_SIDE]
Where = Annotated[Beyond, _chosen({where.name.lower(): where for where in Beyond})]
Sessions = Annotated[tuple[Session, ...], Rule(_read_sessions, f"one or more of {', '.join(_SESSIONS)}")]
At = Annotated[Moment, Rule(_read_moment, _MOMENT)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a condition that can be given."""

    name: str
    rule: Rule
    is_required: bool

    @property
    def is_own_side(self) -> bool:
        return self.rule is OWN_SIDE


@cache
def parameters_of(cls: Any) -> Mapping[str, Parameter]:
    """Return the fields of a condition's class that carry a rule, by name; the others come with its name."""
    hints = get_type_hints(cls, include_extras=True)
    found: dict[str, Parameter] = {}
    for declared in fields(cls):
        rule = next((part for part in get_args(hints[declared.name]) if isinstance(part, Rule)), None)
        if rule is not None:
            found[declared.name] = Parameter(declared.name, rule, declared.default is MISSING)
    return found


def as_json(value: object) -> Json:
    """Return a parameter's value as it would be written."""
    match value:
        case None | bool() | float() | str():
            return value
        case Side():
            return value.direction
        case Timeframe():
            return value.name
        case Beyond():
            return value.name.lower()
        case Moment():
            return value.told
        case int():
            return int(value)
        case tuple():
            return [as_json(one) for one in value]
        case _:
            raise TypeError(f"no parameter is a {type(value).__name__}")

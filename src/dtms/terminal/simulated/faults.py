"""Faults as values: what a simulated terminal does to its caller, to which calls, and when.

    {"kind": "lost_late", "of": "opening", "nth": 2, "late_s": 3}
    {"kind": "none", "calls": ["positions_get"], "code": -10001, "probability": 0.1, "seed": 7, "times": 0}
    {"kind": "offline", "from": "2017-10-03T10:00Z", "until": "2017-10-03T10:05Z"}

`calls` are function names or groups of them (`faults_names.GROUPS`); keys that are no trigger are the kind's arguments.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dtms.terminal.simulated.faults_kinds import ROWS, FaultKind, Row
from dtms.terminal.simulated.faults_names import GROUPS, Value
from dtms.terminal.simulated.recording import parse_time_ms


class Of(StrEnum):
    """Which trade requests are meant."""

    ANY = "any"
    OPENING = "opening"
    CLOSING = "closing"
    LEVELS = "levels"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a fault happens: from the `nth` matching call on, at most `times` (None: the kind's usual; 0: no end).

    Of the calls that match each is taken with `probability`, drawn from `seed`. `from_ms` and `until_ms` are a window
    of terminal time (UTC); once it happened a fault goes on for `for_s` of terminal time, without being counted anew.
    `of` and `symbol` choose among trade requests, and `symbol` among calls that name one.
    """

    nth: int = 1
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    from_ms: int | None = None
    until_ms: int | None = None
    for_s: float = 0.0
    of: Of = Of.ANY
    symbol: str = ""

    def __post_init__(self) -> None:
        wrong = self.nth < 1 or (self.times or 0) < 0 or not 0 <= self.probability <= 1 or not 0 <= self.for_s < 1e9
        if wrong:
            raise ValueError("a fault needs nth >= 1, times >= 0, 0 <= probability <= 1, for_s >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault; without `calls` it concerns those of its kind."""

    kind: FaultKind
    calls: frozenset[str] = frozenset()
    when: When = field(default_factory=When)
    arguments: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        row = self.row
        possible = row.may_concern or row.calls
        if strange := sorted(self.calls - possible):
            raise ValueError(f"{self.kind}: cannot concern {strange[0]}, only {', '.join(sorted(possible))}")
        if not self.calls:
            object.__setattr__(self, "calls", row.calls)
        object.__setattr__(self, "arguments", _checked(self.kind, row, self.arguments))

    @property
    def row(self) -> Row:
        """The kind's row."""
        return ROWS[self.kind]

    @property
    def times(self) -> int:
        """How often it happens; 0 without end."""
        return self.row.times if self.when.times is None else self.when.times

    def number(self, name: str) -> float:
        """Give a numeric argument."""
        return float(self.arguments[name])

    def whole(self, name: str) -> int:
        """Give a whole argument."""
        return int(self.arguments[name])


NUMBER_MAX = 1e12
TRIGGERS = frozenset({"kind", "calls", "nth", "times", "probability", "seed", "from", "until", "for_s", "of", "symbol"})


def parse_faults(given: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """Read faults from JSON.

    Raises:
        ValueError: naming the fault by its place and what is wrong with it.
    """
    found = []
    for place, entry in enumerate(given, 1):
        try:
            found.append(parse_fault(entry))
        except (ValueError, TypeError, AttributeError) as wrong:
            raise ValueError(f"faults, entry {place}: {wrong}") from wrong
    return tuple(found)


def parse_fault(entry: Mapping[str, Any]) -> Fault:
    """Read one fault from JSON; ValueError or TypeError when it is none."""
    named = entry.get("calls", ())
    names = [named] if isinstance(named, str) else named
    kind = FaultKind(entry.get("kind", ""))
    # A kind may have an argument named like a trigger: the symbol of a position that somebody opens.
    own = set(ROWS[kind].arguments)
    when = {key: value for key, value in entry.items() if key in TRIGGERS - own}
    return Fault(
        kind=kind,
        calls=frozenset[str]().union(*(GROUPS.get(name, {name}) for name in names)),
        when=_when(when),
        arguments={key: value for key, value in entry.items() if key in own or key not in TRIGGERS},
    )


def _when(entry: Mapping[str, Any]) -> When:
    times = entry.get("times")
    return When(
        nth=int(entry.get("nth", 1)),
        times=None if times is None else int(times),
        probability=float(entry.get("probability", 1.0)),
        seed=int(entry.get("seed", 0)),
        from_ms=_moment(entry.get("from")),
        until_ms=_moment(entry.get("until")),
        for_s=float(entry.get("for_s", 0.0)),
        of=Of(entry.get("of", Of.ANY)),
        symbol=str(entry.get("symbol", "")),
    )


def _moment(given: Any) -> int | None:
    """Read a moment of terminal time: ISO text, or UTC milliseconds."""
    return parse_time_ms(given) if isinstance(given, str) else None if given is None else int(given)


def _checked(kind: FaultKind, row: Row, given: Mapping[str, Any]) -> dict[str, Value]:
    """Give all arguments of a kind, the defaults for those not given.

    Raises:
        ValueError: for an unknown argument, one of another type, or a value that is no choice.
    """
    if strange := sorted(set(given) - set(row.arguments)):
        raise ValueError(f"{kind}: unknown key {strange[0]!r}; it takes {', '.join(sorted(row.arguments)) or 'none'}")
    checked = {name: _typed(f"{kind}.{name}", given.get(name, usual), usual) for name, usual in row.arguments.items()}
    for name, choices in row.choices.items():
        if checked[name] not in choices:
            raise ValueError(f"{kind}.{name}: {checked[name]!r} is none of {', '.join(map(str, choices))}")
    return checked


def _typed(where: str, given: Any, usual: Value) -> Value:
    """Give a value of the type of the usual one; a whole number serves as a fraction."""
    if type(given) is int and isinstance(usual, float):
        given = float(given)
    if type(given) is not type(usual) or (isinstance(given, float) and not abs(given) < NUMBER_MAX):
        raise ValueError(f"{where}: must be {type(usual).__name__}, not {given!r}")
    found: Value = given
    return found


def described(fault: Fault) -> dict[str, Any]:
    """Write a fault as the JSON from which `parse_fault` makes the same one."""
    usual, when = asdict(When()), asdict(fault.when)
    shown = {key: value for key, value in when.items() if value != usual[key]}
    for key, name in (("from_ms", "from"), ("until_ms", "until")):
        if key in shown:
            shown[name] = datetime.fromtimestamp(shown.pop(key) / 1000, UTC).isoformat(timespec="milliseconds")
    return {"kind": str(fault.kind), "calls": sorted(fault.calls), **shown, **fault.arguments}

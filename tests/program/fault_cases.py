"""Which fault is played at which occasion: every kind that a simulated terminal knows, and brokers' habits.

An occasion is what a fault needs to bite. A request to spoil comes when the market of the played past turns against
its trades; whatever is only looked at is looked at all the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dtms.terminal.simulated.faults_kinds import FaultKind

from .running import BTCUSD, EURUSD

K = FaultKind
Arguments = Mapping[str, Any]


class Occasion(StrEnum):
    """When a fault can bite."""

    ACTION = "action"
    """dtms sends stops, parts and hedges: minutes of market lie ahead in which it has to."""
    LOOK = "look"
    """dtms looks at quotes, bars and lists, as it always does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A switch as somebody types it, the occasion it waits for, and how many real seconds it stays in place.

    ``after_s`` is how long it is watched beyond its end even when all is calm: what is late must be seen as well.
    """

    name: str
    command: str
    message: Mapping[str, Any]
    occasion: Occasion = Occasion.LOOK
    lasts_s: float = 0.0
    after_s: float = 3.0
    before: tuple[tuple[str, Any], ...] = ()
    """Conditions to set before anything starts."""


OPENING: Arguments = {"of": "opening"}
CLOSING: Arguments = {"of": "closing"}
LEVELS: Arguments = {"of": "levels"}
ONE_SYMBOL: Arguments = {"symbol": EURUSD}

SENT: Mapping[FaultKind, Arguments] = {
    K.LOST_EXECUTED: OPENING,
    K.LOST_UNEXECUTED: OPENING,
    K.LOST_LATE: {**OPENING, "late_s": 10},
    K.UNCLEAR_EXECUTED: CLOSING,
    K.UNCLEAR_UNEXECUTED: LEVELS,
    K.UNCLEAR_LATE: {**CLOSING, "late_s": 10},
    K.PLACED_LATE: {**OPENING, "late_s": 10},
    K.PLACED_NEVER: {**OPENING, "late_s": 10},
    K.RETCODE: {**OPENING, "retcode": 10019},
    K.UNKNOWN_RETCODE: OPENING,
    K.REQUOTE: CLOSING,
    K.TOO_MANY_REQUESTS: CLOSING,
    K.LOCKED: LEVELS,
    K.FROZEN: LEVELS,
    K.MARKET_CLOSED: OPENING,
    K.BAD_ARGUMENT: OPENING,
    K.HANG: {**OPENING, "executed": True},
}
"""Faults of requests: which request, and how it differs from the usual."""

LOOKED: Mapping[FaultKind, tuple[float, Arguments]] = {
    K.NONE: (4, {"calls": ["positions_get"], "times": 0}),
    K.SLOW: (4, {"seconds": 0.4}),
    K.LAG: (4, {}),
    K.STALE_LIST: (4, {"times": 0, "age_s": 600}),
    K.PARTIAL_LIST: (4, {"times": 0, "missing": 2, "calls": ["books"]}),
    K.EMPTY_LIST: (4, {"times": 0}),
    K.OFFLINE: (4, {}),
    K.EMPTY_OFFLINE: (4, {}),
    K.RESTART: (0, {"none_s": 60, "empty_s": 60, "partial_s": 60}),
    K.WRONG_ACCOUNT: (4, {}),
    K.CLOCK_JUMP: (0, {}),
    K.FROZEN_CLOCK: (12, ONE_SYMBOL),
    K.FROZEN_QUOTE: (12, ONE_SYMBOL),
    K.NAN_PRICE: (4, {**ONE_SYMBOL, "times": 0}),
    K.ZERO_PRICE: (4, {**ONE_SYMBOL, "times": 0}),
    K.NEGATIVE_PRICE: (4, {**ONE_SYMBOL, "times": 0}),
    K.CROSSED_PRICE: (4, {**ONE_SYMBOL, "times": 0}),
    K.WIDE_SPREAD: (4, {**ONE_SYMBOL, "times": 0}),
    K.SPIKE: (0, {**ONE_SYMBOL, "times": 3}),
    K.GAP: (0, {**ONE_SYMBOL, "times": 3}),
    K.WRONG_DIGITS: (4, {**ONE_SYMBOL, "times": 0}),
    K.REPEATED_TICK: (4, {**ONE_SYMBOL, "times": 0}),
    K.OLDER_TICK: (4, {**ONE_SYMBOL, "times": 0}),
    K.NAN_BAR: (0, {**ONE_SYMBOL, "times": 2}),
    K.ZERO_BAR: (0, {**ONE_SYMBOL, "times": 2}),
    K.SPIKE_BAR: (0, {**ONE_SYMBOL, "times": 2}),
    K.REPEATED_BAR: (0, {**ONE_SYMBOL, "times": 2}),
    K.DISORDERED_BARS: (0, {**ONE_SYMBOL, "times": 2}),
    K.MISSING_BAR: (0, {**ONE_SYMBOL, "times": 2}),
    K.OUTSIDE_STOP: (0, {"calls": ["positions_get"]}),
    K.OUTSIDE_TARGET: (0, {"calls": ["positions_get"]}),
    K.OUTSIDE_CLOSE: (0, {"calls": ["positions_get"]}),
    K.OUTSIDE_OPEN: (0, {"calls": ["positions_get"], "symbol": EURUSD}),
}
"""Faults of what is looked at: for how many seconds, and how it differs from the usual."""

MANNERS: Mapping[str, tuple[tuple[str, Any], ...]] = {
    "comments refused": (("manners.comment_mode", "refuse"),),
    "no comment on a close": (("manners.comment_on_close", False),),
    "comments cut": (("manners.comment_mode", "truncate_16"),),
    "comments replaced": (("manners.comment_mode", "replace"),),
    "magic dropped": (("manners.magic_kept", False),),
    "closing deals carry the position's magic": (("manners.closing_deal_magic", "position"),),
    "a hidden stops level": ((f"symbol.{EURUSD}.stops_level_points", 0), ("manners.hidden_stops_points", 400)),
    "part fills": (("manners.fill_lots_max", 0.2), ("manners.fok_is_whole", False)),
    "large orders are rejected": (("manners.fill_lots_max", 0.2),),
    "the rest fills later": (
        ("manners.fill_lots_max", 0.2),
        ("manners.fok_is_whole", False),
        ("manners.partial_rest", "refills"),
    ),
    "filled later": (("manners.execution_delay_ms", 5_000),),
    "one order, three positions": (("manners.step_fills", 3), ("manners.step_slip_points", 2)),
    "few requests a minute": (("manners.requests_per_minute", 2),),
    "real accounts only": (("manners.only_real", True),),
    "close only": ((f"symbol.{EURUSD}.trade_mode", 3), (f"symbol.{BTCUSD}.trade_mode", 3)),
    "trading switched off": (("switches.terminal_trade_allowed", False),),
    "no margin": ((f"symbol.{EURUSD}.margin_factor", 1000), (f"symbol.{BTCUSD}.margin_factor", 1000)),
}
"""Brokers' habits and conditions, set before dtms has to act."""


def _command(kind: FaultKind, arguments: Arguments) -> str:
    words = [f"dtms sim fault {kind}"]
    for name, value in arguments.items():
        match name, value:
            case "calls", list():
                words += [f"--call {call}" for call in value]
            case ("of" | "times", _):
                words.append(f"--{name} {value}")
            case "symbol", _ if kind is not K.OUTSIDE_OPEN:
                words.append(f"--symbol {value}")
            case _:
                words.append(f"--arg {name}={str(value).lower() if isinstance(value, bool) else value}")
    return " ".join(words)


def _fault(kind: FaultKind, arguments: Arguments, occasion: Occasion, lasts_s: float) -> Case:
    return Case(
        name=str(kind),
        command=_command(kind, arguments),
        message={"do": "add", "fault": {"kind": str(kind), **arguments}},
        occasion=occasion,
        lasts_s=lasts_s,
    )


def _manner(name: str, settings: tuple[tuple[str, Any], ...]) -> Case:
    typed = " && ".join(f"dtms sim set {key} {str(value).lower()}" for key, value in settings)
    return Case(name=name, command=typed, message={}, occasion=Occasion.ACTION, before=settings)


FAULTS: tuple[Case, ...] = (
    *(_fault(kind, arguments, Occasion.ACTION, 0) for kind, arguments in SENT.items()),
    *(_fault(kind, arguments, Occasion.LOOK, lasts) for kind, (lasts, arguments) in LOOKED.items()),
)
HABITS: tuple[Case, ...] = tuple(_manner(name, settings) for name, settings in MANNERS.items())
CASES: Mapping[str, Case] = {case.name: case for case in (*FAULTS, *HABITS)}

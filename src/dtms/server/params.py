"""What a path or a query may hold. An empty parameter counts as an absent one."""

import math
import re
from datetime import datetime
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from dtms.domain.trade import State
from dtms.server.answers import Problem
from dtms.server.errors import invalid
from dtms.wire import SYMBOL_PATTERN, TICKET_MAX

TICKETS_MAX: Final = 500
LIMIT_MAX: Final = 500
_DIGITS: Final = re.compile(r"[0-9]{1,19}")
_LATEST_S: Final = 253_402_300_799  # the end of the year 9999
_LOST_PLUS: Final = re.compile(r" (?=\d\d:\d\d$)")


def _digits(text: object) -> object:
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise ValueError("must be a whole number of plain digits")
    return text


def _empty_is_absent(text: object) -> object:
    return None if text == "" else text


def _digits_or_absent(text: object) -> object:
    return _digits(_empty_is_absent(text))


def moment_ms(text: str) -> int:
    """Read RFC 3339 or epoch seconds as UTC milliseconds.

    Raises:
        ValueError: for anything else, and for a time without zone.
    """
    try:
        seconds = float(text)
    except ValueError:
        # Any moment can be asked for; before 1970 and after 9999 there is nothing to find.
        seconds = min(max(_seconds_of(text), 0.0), _LATEST_S)
    if not (math.isfinite(seconds) and 0 <= seconds <= _LATEST_S):
        raise ValueError("must be RFC 3339 with a zone, or epoch seconds")
    return int(seconds * 1000)


def _seconds_of(text: str) -> float:
    # A plus sign that was not escaped arrives as a space.
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub("+", text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be RFC 3339 with a zone, or epoch seconds")
    return moment.timestamp()


def _checked_moment(text: str | None) -> str | None:
    if text is not None:
        moment_ms(text)
    return text


_DAY: Final = r"[0-9]{3}[1-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
_MOMENT_SCHEMA: Final = {"type": "string", "pattern": rf"^({_DAY}T{_TIME}|[0-9]{{1,11}}(\.[0-9]{{1,3}})?)?$"}
_NUMBER_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": TICKET_MAX}

TicketPath = Annotated[
    int,
    Path(ge=1, le=TICKET_MAX),
    BeforeValidator(_digits),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": TICKET_MAX}),
]
TicketQuery = Annotated[
    int | None,
    Query(ge=1, le=TICKET_MAX),
    BeforeValidator(_digits_or_absent),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": TICKET_MAX}),
]
CursorQuery = Annotated[
    int | None,
    Query(ge=0, le=TICKET_MAX),
    BeforeValidator(_digits_or_absent),
    WithJsonSchema(_NUMBER_SCHEMA),
]
LimitQuery = Annotated[
    int | None,
    Query(ge=1, le=LIMIT_MAX),
    BeforeValidator(_digits_or_absent),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
]
SymbolQuery = Annotated[
    str | None,
    Query(pattern=SYMBOL_PATTERN),
    BeforeValidator(_empty_is_absent),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Za-z0-9._#-]{0,32}$"}),
]
MomentQuery = Annotated[
    str | None,
    Query(description="RFC 3339 with a zone, or epoch seconds."),
    BeforeValidator(_empty_is_absent),
    AfterValidator(_checked_moment),
    WithJsonSchema(_MOMENT_SCHEMA),
]
TicketsQuery = Annotated[
    str | None,
    Query(description=f"Up to {TICKETS_MAX} tickets, separated by commas."),
    WithJsonSchema({"type": "string", "pattern": r"^([1-9][0-9]{0,17}(,[1-9][0-9]{0,17}){0,20})?$"}),
]
StateQuery = Annotated[
    str | None,
    Query(description="One state, several separated by commas, or any."),
    WithJsonSchema({"type": "string", "enum": [*(s.value for s in State), "any", ""]}),
]


def tickets_of(text: str | None) -> list[int] | None:
    """Split a list of tickets.

    Raises:
        Problem: 422 for what is not one.
    """
    if not text:
        return None
    parts = text.split(",")
    if len(parts) > TICKETS_MAX:
        raise _invalid("tickets", f"must be at most {TICKETS_MAX} tickets")
    if not all(_DIGITS.fullmatch(part) and 1 <= int(part) <= TICKET_MAX for part in parts):
        raise _invalid("tickets", "must be whole numbers from 1, separated by commas")
    return [int(part) for part in parts]


def states_of(text: str | None) -> frozenset[State] | None:
    """Read ``state=``: None is the active ones.

    Raises:
        Problem: 422 for an unknown state.
    """
    if not text:
        return None
    if text.lower() == "any":
        return frozenset(State)
    names = [part.strip().upper() for part in text.split(",")]
    if unknown := [name for name in names if name not in State.__members__]:
        raise _invalid("state", f"must be any, or of {', '.join(State)}; not {unknown[0][:32]}")
    return frozenset(State[name] for name in names)


def _invalid(field: str, message: str) -> Problem:
    return invalid([{"loc": ("query", field), "msg": message, "type": "value_error"}])

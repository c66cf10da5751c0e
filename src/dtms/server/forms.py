"""Registration as a form: the same names as in JSON, every value text, an empty one absent.

A form says less than JSON, so each field is read by what it is: a number, a switch or a word. What cannot be read so is
handed on as the text that it is, and refused by the same rules as in JSON.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl

from pydantic import Field
from starlette.requests import Request

from dtms.server.answers import ErrorCode, Problem
from dtms.server.errors import invalid
from dtms.wire import Body

FORM: Final = "application/x-www-form-urlencoded"
FIELDS_MAX: Final = 100
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?")
_NUMBERS: Final = frozenset({"entry", "entry_price", "volume", "stop_loss", "take_profit"})
_SWITCHES: Final = frozenset({"takeover", "alongside", "allow_pending"})
_SWITCH: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

_Positive = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,8}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9][0-9]{0,8})?$")]
_Level = Annotated[str, Field(pattern=r"^([0-9]{1,9}(\.[0-9]{1,9})?)?$", description="0 means null.")]
_Switch = Annotated[str, Field(pattern=r"^(true|false|1|0)?$")]


class EnableForm(Body):
    """Register one trade by a form; an empty value counts as an absent one."""

    ticket: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
    symbol: Annotated[str, Field(pattern=r"^[A-Za-z0-9._#-]{0,32}$")] = ""
    direction: Annotated[str, Field(pattern="^([Bb][Uu][Yy]|[Ss][Ee][Ll][Ll])?$")] = ""
    entry: _Positive = ""
    entry_price: _Positive = ""
    volume: _Positive = ""
    stop_loss: _Level = ""
    take_profit: _Level = ""
    strategy_type: Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,64}$")] = ""
    takeover: _Switch = ""
    alongside: _Switch = ""
    mode: Annotated[str, Field(pattern="^(observe|advise|auto)?$")] = ""
    allow_pending: _Switch = ""


def is_form(request: Request) -> bool:
    return (request.headers.get("content-type") or "").partition(";")[0].strip().lower() == FORM


def comes_from_a_page(request: Request) -> bool:
    """Answer whether a browser sent it: a page may post any form anywhere, and must not trade by it."""
    return "origin" in request.headers or any(name.startswith("sec-fetch-") for name in request.headers)


def fields_of(raw: bytes) -> dict[str, object]:
    """Read a form's body as the values that the same request would have in JSON.

    Raises:
        Problem: 400 for what is no form in UTF-8, 422 for a field that is given twice.
    """
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict",
            max_num_fields=FIELDS_MAX,
        )  # fmt: skip
    except ValueError:
        raise Problem(ErrorCode.INVALID_REQUEST, "The body is not a form in UTF-8.", status=400) from None
    names = [name for name, _ in pairs if name in EnableForm.model_fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise invalid([{"loc": (name,), "msg": "must be given once", "type": "given_twice"} for name in twice])
    return {name: _value(name, text) for name, text in pairs if name in names and text.strip()}


def _value(name: str, text: str) -> object:
    if name in _NUMBERS and _NUMBER.fullmatch(text.strip()):
        return float(text)
    if name in _SWITCHES:
        return _SWITCH.get(text.strip().lower(), text)
    return text

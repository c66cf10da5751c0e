"""Values to JSON and back, by their types.

A dataclass becomes an object with one key per field, an enum its value, a Decimal its digits, a side BUY or SELL. The
plan of each class is made once from its annotations, so that a new field with a default is stored without a change
here, and a row written without it still reads. Unknown keys are ignored: the next version's rows stay readable.
"""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from operator import attrgetter
from typing import Any, TypeVar

from dtms.domain.errors import InvariantBroken, StoreFailed
from dtms.domain.market import Side

T = TypeVar("T")

Plain = dict[str, Any]
"""A value taken apart: JSON types all the way down."""

Code = Callable[[Any], Any]

dump_json: Callable[[object], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
UNSTORABLE = (TypeError, ValueError, OverflowError)
"""What encoding and binding raise for a value that has no place in the store."""


def unstorable(what: object, error: Exception) -> InvariantBroken:
    return InvariantBroken(f"cannot be stored: {what}: {error}")


def load_json(text: str) -> Any:
    """Read JSON that this store wrote.

    Raises:
        StoreFailed: when the text is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise StoreFailed(f"a stored value is not JSON: {error}") from error


def finite(number: float) -> float:
    """Return the number as a plain float, which is what comes back."""
    if not isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return float(number)


def digits(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError(f"{number} is not a finite number")
    return str(number)


def encoder(kind: Any) -> Code | None:
    """Return how a value of the annotated type is taken apart; None when it is stored as it is."""
    return _codes(kind)[0]


def decoder(kind: Any) -> Code | None:
    return _codes(kind)[1]


@cache
def _codes(kind: Any) -> tuple[Code | None, Code | None]:
    """Return the pair (take apart, put together) of an annotated type."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if isinstance(kind, types.UnionType):
        return _union_codes(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _sequence_codes(args[0], tuple)
    if origin is frozenset:
        return _sorted_codes(args[0])
    if origin is Mapping:
        return dict, None
    if is_dataclass(kind) and isinstance(kind, type):
        return encode, lambda plain: decode(kind, plain)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return attrgetter("value"), kind
    raise TypeError(f"no way to store a {kind!r}")


_SIMPLE: dict[Any, tuple[Code | None, Code | None]] = {
    int: (None, None),
    str: (None, None),
    bool: (None, None),
    float: (finite, float),
    Decimal: (digits, Decimal),
    Side: (attrgetter("direction"), Side.of_direction),
}


def _union_codes(kind: types.UnionType) -> tuple[Code | None, Code | None]:
    """Tell an optional by None, and one of several dataclasses by its name under ``type``."""
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    if len(members) == 1:
        return _optional(encoder(members[0])), _optional(decoder(members[0]))
    by_name = {member.__name__: member for member in members}
    return (
        lambda value: {"type": type(value).__name__, **encode(value)},
        lambda plain: decode(by_name[plain["type"]], plain),
    )


def _optional(code: Code | None) -> Code | None:
    return None if code is None else lambda value: None if value is None else code(value)


def _sequence_codes(item: Any, build: Callable[..., Any]) -> tuple[Code, Code]:
    take, put = encoder(item) or _same, decoder(item) or _same
    return (lambda values: [take(value) for value in values]), (lambda plain: build(put(value) for value in plain))


def _sorted_codes(item: Any) -> tuple[Code, Code]:
    """Store a set in order, so that equal values make equal text."""
    take, put = _sequence_codes(item, frozenset)
    return (lambda values: sorted(take(values))), put


def _same(value: Any) -> Any:
    return value


@cache
def _take_plan(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...], tuple[tuple[str, Code], ...]]:
    """Return how to read all fields of a class at once, their names, and those that need encoding."""
    hints = typing.get_type_hints(cls)
    names = tuple(field.name for field in fields(cls))
    coded = tuple((name, code) for name in names if (code := encoder(hints[name])) is not None)
    return attrgetter(*names), names, coded


@cache
def _put_plan(cls: Any) -> tuple[tuple[str, Code | None, bool], ...]:
    """Return name, decoder, and whether it may be missing, of each field of a class."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (f.name, decoder(hints[f.name]), f.default is not MISSING or f.default_factory is not MISSING)
        for f in fields(cls)
    )


def encode(value: Any) -> Plain:
    """Take a dataclass value apart.

    Raises:
        ValueError, TypeError: for a number that is not finite, or a value of another type than annotated.
    """
    cls: Any = type(value)
    read, names, coded = _take_plan(cls)
    plain = dict(zip(names, read(value), strict=True))
    for name, code in coded:
        plain[name] = code(plain[name])
    return plain


def decode(cls: type[T], plain: Mapping[str, Any]) -> T:
    """Put a dataclass value together again.

    Raises:
        StoreFailed: when a field without default is missing, or a stored value is not one of its type.
    """
    given: Plain = {}
    kind: Any = cls
    for name, code, optional in _put_plan(kind):
        if name not in plain:
            if optional:
                continue
            raise StoreFailed(f"a stored {cls.__name__} has no {name}")
        given[name] = _put(cls, name, code, plain[name])
    return cls(**given)


def _put(cls: type, name: str, code: Code | None, value: Any) -> Any:
    try:
        return value if code is None else code(value)
    except (*UNSTORABLE, ArithmeticError, KeyError) as error:
        raise StoreFailed(f"the stored {name} of a {cls.__name__} is not sound: {value!r}") from error

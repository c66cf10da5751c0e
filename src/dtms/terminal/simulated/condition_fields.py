"""Fields of conditions that know which values they take, and the check of a value before it is set."""

from collections.abc import Collection
from dataclasses import field, fields
from enum import StrEnum
from typing import Any


def at_least(default: Any, least: float) -> Any:
    """Make a field whose value may not fall below a bound."""
    return field(default=default, metadata={"least": least})


def one_of(default: Any, values: Collection[int]) -> Any:
    """Make a field whose value is one of these."""
    return field(default=default, metadata={"values": values})


def checked(kind: type, name: str, value: object) -> object:
    """Give a field's value in the field's own kind; AttributeError, TypeError or ValueError say what is wrong.

    A field of more than one kind takes what it is given.
    """
    known = {item.name: item for item in fields(kind)}
    if name not in known:
        raise AttributeError(f"{kind.__name__} has no {name!r}; it has {', '.join(known)}")
    wanted = known[name].type
    if not isinstance(wanted, type):
        return value
    if issubclass(wanted, StrEnum) and isinstance(value, str) and value not in list(wanted):
        raise ValueError(f"{name} must be one of {', '.join(wanted)}, not {value!r}")
    made = wanted(value) if _fits(wanted, value) else value
    if type(made) is not wanted:
        raise TypeError(f"{name} must be {wanted.__name__}, not {value!r}")
    least: float | None = known[name].metadata.get("least")
    if least is not None and isinstance(made, int | float) and not (least <= made < float("inf")):
        raise ValueError(f"{name} must be at least {least} and finite, not {value!r}")
    values = known[name].metadata.get("values")
    if values is not None and made not in values:
        raise ValueError(f"{name} must be one of {', '.join(map(str, values))}, not {value!r}")
    return made


def _fits(wanted: type, value: object) -> bool:
    """Tell whether a value stands for one of another kind: a text for a choice, a whole number for a number."""
    return (issubclass(wanted, StrEnum) and isinstance(value, str)) or (wanted is float and type(value) is int)

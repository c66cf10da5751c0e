"""The leaves of the configuration, found in the frozen dataclasses: key, type and default, declared nowhere else."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter

from dtms.config.model import Config
from dtms.settings import Settings

_NOT_KEYS: Final = frozenset({"settings", "entries", "given"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One key with its type and default."""

    key: str
    annotation: Any
    default: Any

    def adapter(self) -> TypeAdapter[Any]:
        return _adapter(self.annotation)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _leaves_of(prefix: str, cls: type) -> dict[str, Leaf]:
    hints = get_type_hints(cls)
    found: dict[str, Leaf] = {}
    for field in fields(cls):
        key, default = f"{prefix}{field.name}", _default(field)
        if get_origin(hints[field.name]) is Mapping and get_args(hints[field.name])[1] is float:
            found |= {
                f"{key}.{name}": Leaf(key=f"{key}.{name}", annotation=float, default=v) for name, v in default.items()
            }
        else:
            found[key] = Leaf(key=key, annotation=hints[field.name], default=default)
    return found  # a mapping of names that the user chooses is one leaf, as any other value


@cache
def sections() -> Mapping[str, type[Any]]:
    """Return the dataclass of each section, by its name in the file."""
    named: dict[str, type[Any]] = {**get_type_hints(Config), **get_type_hints(Settings)}
    return {name: cls for name, cls in named.items() if name not in _NOT_KEYS and is_dataclass(cls)}


@cache
def leaves() -> Mapping[str, Leaf]:
    """Return every leaf by its dotted key."""
    found: dict[str, Leaf] = {}
    for name, cls in sections().items():
        found |= _leaves_of(f"{name}.", cls)
    hints = get_type_hints(Config)
    for field in fields(Config):
        if field.name not in _NOT_KEYS and field.name not in sections():
            found[field.name] = Leaf(key=field.name, annotation=hints[field.name], default=_default(field))
    return found


def build(values: Mapping[str, Any], name: str) -> Any:
    """Make one section's dataclass from leaf values.

    Raises:
        Misconfigured: by the dataclass, when its values contradict each other.
    """
    cls = sections()[name]
    arguments: dict[str, Any] = {}
    for field in fields(cls):
        key = f"{name}.{field.name}"
        prefix = f"{key}."
        arguments[field.name] = (
            values[key] if key in values else {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
        )
    return cls(**arguments)

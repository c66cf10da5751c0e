"""The vendor's structures: tuples with named fields, in the vendor's order.

The vendor's types are C structure sequences: indexable, iterable, with `_asdict()`, and without the
`_fields` and `_replace` of `collections.namedtuple`. Code that leans on those would fail on a real terminal,
so they are absent here too.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, ClassVar, Self


class Structure(tuple[Any, ...]):
    """Give a tuple the named fields that its class annotates, in that order."""

    __slots__ = ()
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        names = tuple(name for name in cls.__annotations__ if name != "field_names")
        cls.field_names = names
        for index, name in enumerate(names):
            setattr(cls, name, property(itemgetter(index)))

    def __new__(cls, values: Iterable[Any]) -> Self:
        made = super().__new__(cls, values)
        if len(made) != len(cls.field_names):
            raise TypeError(f"{cls.__name__}() takes a {len(cls.field_names)}-sequence ({len(made)}-sequence given)")
        return made

    @classmethod
    def named(cls, values: dict[str, Any]) -> Self:
        """Build from a mapping that names every field."""
        return cls(values[name] for name in cls.field_names)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self.field_names, self, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"

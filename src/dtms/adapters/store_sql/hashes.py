"""Hashes over rows: what a flipped bit cannot change unseen.

A row's hash is BLAKE2b, 128 bits, over its table's name and the values of its other columns in their order, as JSON:
an integer, a float's shortest digits, text, null. The longest column, the JSON text of ``memory``, ``body`` or
``details``, follows as it is. A fact's hash covers the hash of the fact before it of the same ticket, so that the facts
of a ticket are a chain from its first one on; facts without a ticket are one chain of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from sqlalchemy import Table

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.codec import dump_json

Row = Mapping[str, Any]

HASH_BYTES = 16
HASH, PREVIOUS = "hash", "previous"
_TEXTS = ("memory", "body", "details")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns of a table are hashed, and which of them name a row."""

    table: str
    key: tuple[str, ...]
    text: str | None
    kinds: Mapping[str, type]
    """Python's type of each hashed column but ``text``, in order."""
    read: Callable[[Row], tuple[Any, ...]]
    """Reads those columns."""
    known: set[tuple[type, ...]] = field(default_factory=set)
    """Types that rows have had and that fit, so that they are looked at once."""

    def hash(self, row: Row) -> str:
        """Hash a row by its columns' values, as Python or the database spells them.

        Raises:
            TypeError, ValueError: for a value that would come back from its column as another one.
        """
        values = self.read(row)
        types = tuple(map(type, values))
        if types not in self.known:
            self._require_fitting(types)
            self.known.add(types)
        if bool in types:
            values = tuple(int(value) if value is True or value is False else value for value in values)
        tail = "" if self.text is None else row[self.text]
        return blake2b(f"{dump_json((self.table, *values))}\n{tail}".encode(), digest_size=HASH_BYTES).hexdigest()

    def key_of(self, row: Row) -> str:
        """Name a row for a person."""
        return "/".join(str(row[name]) for name in self.key)

    def is_sound(self, row: Row) -> bool:
        """Answer whether a row is what was written; one without a hash comes from a program that knew none."""
        stored = row[HASH]
        if stored is None:
            return True
        try:
            return bool(stored == self.hash(row))
        except (TypeError, ValueError):  # values of no kind that is ever written
            return False

    def _require_fitting(self, types: tuple[type, ...]) -> None:
        for (column, kind), given in zip(self.kinds.items(), types, strict=True):
            if given not in (kind, type(None)) and not (kind is int and given is bool):
                raise TypeError(f"{column} is {given.__name__}, not {kind.__name__}")


def _layout(table: Table, name: str) -> Layout:
    columns = [c for c in table.columns if c.name != HASH]
    text = next((c.name for c in columns if c.name in _TEXTS), None)
    kinds = {c.name: int if c.type.python_type is bool else c.type.python_type for c in columns if c.name != text}
    return Layout(
        table=name, key=tuple(c.name for c in table.primary_key), text=text, kinds=kinds, read=_reading(list(kinds))
    )


def _reading(names: list[str]) -> Callable[[Row], tuple[Any, ...]]:
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


LAYOUTS: Mapping[str, Layout] = {
    **{table.name: _layout(table, table.name) for table in schema.HASHED},
    # An archived row keeps the hash that it had.
    "archived_trades": _layout(schema.archived_trades, "trades"),
    "archived_intents": _layout(schema.archived_intents, "intents"),
    "archived_facts": _layout(schema.archived_facts, "facts"),
}
"""By the table's name."""


def sealed(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """Give a row that is about to be written its hash.

    Raises:
        TypeError, ValueError: for a value that has no place in the store.
    """
    row[HASH] = LAYOUTS[table].hash(row)
    return row

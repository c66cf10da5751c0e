"""Numbers that must never be given twice go on far beyond all that was seen: in the store that is made anew, in what it
replaces, in every backup, and in the change log.

Without looking at all of them, a second rebuilding from the same backup would give the first one's numbers again.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.backup import SIDE_FILES, backups, folder_of
from dtms.adapters.store_sql.leases import TOKENS
from dtms.adapters.store_sql.numbers import COUNTER, NUMBER_END
from dtms.adapters.store_sql.segments import every_change, last_number
from dtms.adapters.store_sql.sqlite import DriverError, SqliteDatabase
from dtms.adapters.store_sql.units import FACTS
from dtms.adapters.store_sql.writer import CHANGES
from dtms.domain.errors import StoreFailed

LEAP = 1_000_000
"""How far numbers go on beyond the last that was seen: more than could have been given and lost."""
BELIEVED = NUMBER_END // 2
"""A number above is damage: to go on beyond it would use up what there is."""
ASIDE = ("damaged", "replaced")
_SEEN = {
    COUNTER: ("SELECT value FROM counters WHERE name = 'intents'", "SELECT max(number) FROM intents"),
    FACTS: ("SELECT value FROM counters WHERE name = 'facts'", "SELECT max(id) FROM facts"),
    CHANGES: ("SELECT value FROM counters WHERE name = 'changes'",),
    TOKENS: (
        "SELECT max(token) FROM leases",
        "SELECT max(token) FROM intents",
        "SELECT value FROM counters WHERE name = 'tokens'",
    ),
}
"""How the highest number of each kind is found in a file."""


@dataclass(slots=True)
class Highest:
    """The highest number of each kind that was seen."""

    numbers: dict[str, int]

    def see(self, kind: str, number: object) -> None:
        if isinstance(number, int) and self.numbers.get(kind, 0) < number <= BELIEVED:
            self.numbers[kind] = number

    def beyond(self, kind: str) -> int:
        return self.numbers.get(kind, 0) + LEAP


def highest(path: Path) -> Highest:
    """Look at everything that is kept of a store: its file, those that were set aside, its backups, its change log."""
    seen, folder = Highest({}), folder_of(path)
    _see_file(seen, path, "ro")
    for copy in (*_asides(path), *(b.path for b in backups(folder))):
        _see_file(seen, copy, "ro&immutable=1")
    seen.see(CHANGES, last_number(folder))
    for change in every_change(folder):
        seen.see(CHANGES, change.number)
        for row in (row for table, rows in change.written if table == "intents" for row in rows):
            seen.see(COUNTER, row["number"])
            seen.see(TOKENS, row["token"])
    return seen


def _asides(path: Path) -> Iterator[Path]:
    for why in ASIDE:
        yield from (p for p in path.parent.glob(f"{path.name}.{why}-*") if not p.name.endswith(SIDE_FILES))


def _see_file(seen: Highest, path: Path, mode: str) -> None:
    """Read what a file can still tell; one that tells nothing tells nothing."""
    with contextlib.suppress(DriverError, StoreFailed), contextlib.closing(SqliteDatabase(path).connect(mode)) as found:
        for kind, questions in _SEEN.items():
            for question in questions:
                seen.see(kind, _answer(found, question))


def _answer(connection: Any, question: str) -> object:
    with contextlib.suppress(DriverError):
        return (connection.execute(question).fetchone() or (None,))[0]
    return None


def leap(made: Path, seen: Highest) -> None:
    """Let intents, facts, changes and lease tokens of a new file go on beyond all that may have been given."""
    _see_file(seen, made, "ro")
    database = SqliteDatabase(made)
    with database.named(), database.engine.begin() as connection:
        for kind in (COUNTER, FACTS, CHANGES):
            put_counter(connection, kind, seen.beyond(kind))
        # Nobody holds a lease any more, and each begins above all tokens that a running gateway may have heard of.
        connection.execute(schema.leases.delete())
        put_counter(connection, TOKENS, seen.beyond(TOKENS))


def put_counter(connection: Connection, name: str, value: int) -> None:
    counters = schema.counters
    connection.execute(counters.delete().where(counters.c.name == name))
    connection.execute(counters.insert().values(name=name, value=value))

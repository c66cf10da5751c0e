"""What only the damaged file has: rows that can still be read, whose hashes hold, and that are newer than those made.

A file that is older than what was made from backup and change log has nothing newer: it is an old copy, and what it
holds was changed, archived or forgotten since.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, and_, select
from sqlalchemy.dialects.sqlite import insert

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.backup import change_number
from dtms.adapters.store_sql.hashes import HASH, PREVIOUS
from dtms.adapters.store_sql.rows import is_sound
from dtms.adapters.store_sql.sqlite import DriverError, SqliteDatabase
from dtms.domain.errors import StoreFailed

Row = Mapping[str, Any]

ONLY_ONCE = frozenset({"facts", "evaluations", "archived_facts"})
"""Tables whose rows never change."""
SAVED = (
    *("trades", "intents", "controls", "rails", "facts", "evaluations", "kept", "ownership", "managed", "plans"),
    *("archived_trades", "archived_intents", "archived_facts"),
)
"""What is looked for in the damaged file, in this order: a row that is in use is not archived as well."""
_ELSEWHERE = {
    here: there
    for live in ("trades", "intents", "facts")
    for here, there in ((live, f"archived_{live}"), (f"archived_{live}", live))
}
_STAGE = {"PLANNED": 0, "SENDING": 1, "UNKNOWN": 2}
"""How far a request came; all other states are final."""


@dataclass(frozen=True, slots=True)
class Made:
    """The store that is being made, and whether the damaged file was ahead of it."""

    connection: Connection
    is_behind: bool

    def take(self, table: Table, row: Row) -> bool:
        """Take a row over when it is newer; say whether it was."""
        if row[HASH] is None or not is_sound(table.name, row) or not self._lacks(table, row):
            return False
        put(self.connection, table, row)
        return True

    def _lacks(self, table: Table, row: Row) -> bool:
        have = self._find(table, row)
        if have is not None:
            return self._is_newer(table, row, have)
        other = _ELSEWHERE.get(table.name)
        if other is not None and self._find(schema.metadata.tables[other], row) is not None:
            return False
        match table.name:
            case "facts" | "archived_facts":
                return self._goes_on(row)
            case "kept":
                return self.is_behind  # else it was forgotten since
        return True

    def _is_newer(self, table: Table, row: Row, have: Row) -> bool:
        match table.name:
            case "trades":
                return bool((row["version"], row["last_updated"]) > (have["version"], have["last_updated"]))
            case "ownership" | "managed" | "plans":
                return bool(row["version"] > have["version"])
            case "intents":
                return _STAGE.get(row["state"], 3) > _STAGE.get(have["state"], 3)
            case "controls" if have["halted"] != row["halted"]:
                return bool(row["halted"])  # a kill switch that was once on stays on
            case "controls" | "rails" | "kept":
                return self.is_behind and row[HASH] != have[HASH]
        return False

    def _find(self, table: Table, row: Row) -> Row | None:
        same = and_(*(column == row[column.name] for column in table.primary_key))
        found = self.connection.execute(select(table).where(same)).mappings().first()
        return None if found is None else dict(found)

    def _goes_on(self, fact: Row) -> bool:
        """Answer whether a fact follows on the last one of its ticket."""
        for table in (schema.facts, schema.archived_facts):
            of_ticket = select(table.c.hash).where(table.c.ticket.is_not_distinct_from(fact["ticket"]))
            last = self.connection.execute(of_ticket.order_by(table.c.id.desc()).limit(1)).scalar()
            if last is not None:
                return bool(last == fact[PREVIOUS])
        return fact[PREVIOUS] is None


def save(damaged: Path, made: Path) -> dict[str, int]:
    """Take over rows that prove sound and that the new store lacks or has older; return how many, by table."""
    told, have = _number(damaged), change_number(made)
    if told is not None and told < have:
        return {}
    database = SqliteDatabase(made)
    with database.named(), database.engine.begin() as connection:
        into = Made(connection, is_behind=told is not None and told > have)
        tables = [schema.metadata.tables[name] for name in SAVED]
        return {table.name: sum(into.take(table, row) for row in _readable(damaged, table)) for table in tables}


def _number(damaged: Path) -> int | None:
    try:
        return change_number(damaged) or None
    except StoreFailed:
        return None


def _readable(damaged: Path, table: Table) -> Iterator[Row]:
    """Yield the rows that can still be read: forward as far as the pages hold, else backward from the end too."""
    keys = [column.name for column in table.primary_key]
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{key} {order}" for key in keys)
        try:
            with contextlib.closing(SqliteDatabase(damaged).connect("ro")) as connection:
                cursor = connection.execute(f"SELECT * FROM {table.name} ORDER BY {by}")
                names = [column[0] for column in cursor.description]
                for values in cursor:
                    yield dict(zip(names, values, strict=True))
        except (DriverError, UnicodeDecodeError):
            continue
        return


def put(connection: Connection, table: Table, row: Row) -> None:
    """Write a row whole; one that never changes is left as it is when it is there."""
    known = {name: value for name, value in row.items() if name in table.c}
    statement = insert(table).values(known)
    others = {name: statement.excluded[name] for name in known if not table.c[name].primary_key}
    if table.name in ONLY_ONCE or not others:
        connection.execute(statement.on_conflict_do_nothing())
    else:
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others))

"""Rebuilding a store that cannot be trusted: the newest verified backup, then the change log, then what can be saved.

The damaged file is set aside first and never written to. What comes out is verified, and only then takes the store's
name. Numbers that must never be given twice (intents, lease tokens) go on far beyond all that was seen.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.sqlite import insert

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.backup import (
    Backup,
    Verify,
    backups,
    copy,
    folder_of,
    set_aside,
    stamp,
    sync_folder,
)
from dtms.adapters.store_sql.changelog import OWNER_ONLY, changes, segments
from dtms.adapters.store_sql.hashes import HASH, PREVIOUS, sealed
from dtms.adapters.store_sql.migrate import migrate
from dtms.adapters.store_sql.numbers import COUNTER
from dtms.adapters.store_sql.rows import is_sound
from dtms.adapters.store_sql.sqlite import DriverError, SqliteDatabase
from dtms.adapters.store_sql.units import FACTS
from dtms.adapters.store_sql.writer import CHANGES, GONE
from dtms.domain.errors import StoreFailed

LEAP = 1_000_000
"""How far numbers go on beyond the last that was seen: more than could have been given and lost."""
ONLY_ONCE = frozenset({"facts", "evaluations"})
"""Tables whose rows never change."""
ENGINE = "engine"
"""The lease that a running gateway may know by a token which nothing here shows."""
SAVED = ("trades", "intents", "controls", "rails", "facts")
"""What is looked for in the damaged file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a store was made from again."""

    aside: Path | None
    """The damaged file under its new name; None when there was none."""
    backup: Path | None
    changes: int
    """Transactions taken from the change log."""
    saved: Mapping[str, int] = field(default_factory=dict)
    """Rows by table that only the damaged file had, or had newer."""

    def told(self) -> str:
        """Say in one line what was done."""
        base = f"the backup {self.backup.name}" if self.backup else "nothing"
        saved = ", ".join(f"{count} {table}" for table, count in self.saved.items() if count) or "nothing"
        aside = f"; the damaged file is {self.aside.name}" if self.aside else ""
        return (
            f"the store was rebuilt from {base}, {self.changes} later changes, and from the damaged file {saved}{aside}"
        )


def rebuild(path: Path, wall_ms: int, verify: Verify) -> Rebuilt:
    """Set a damaged store aside and make it anew.

    Raises:
        StoreFailed: when there is nothing to make it from; the damaged file then has its old name again.
    """
    folder = folder_of(path)
    made = path.with_name(f"{path.name}.rebuilding-{stamp(wall_ms)}")
    backup = _newest_sound(folder, verify)
    try:
        _base(backup, made)
        taken = _replay(made, folder, backup)
        saved = _save(path, made) if path.exists() else {}
        if backup is None and not taken and not any(saved.values()):
            raise StoreFailed(
                f"the store {path} is not sound, and neither a backup nor a change log is in {folder}: put a sound copy"
                " in its place (dtms restore FILE), or start with an empty one (dtms restore --empty)"
            )
        _leap(made)
        verify(made)
        aside = set_aside(path, "damaged", wall_ms)
        made.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreFailed(f"the store {path} could not be rebuilt: {error.strerror}") from error
    finally:
        _discard(made)
    return Rebuilt(aside=aside, backup=backup.path if backup else None, changes=taken, saved=saved)


def restore(path: Path, source: Path | None, wall_ms: int, verify: Verify) -> Path | None:
    """Put a verified copy in the store's place, or an empty store; return where the old file went.

    The change log is of another history from then on, and is set aside as well.

    Raises:
        StoreFailed: when the source is not sound; then nothing was changed.
    """
    if source is not None:
        verify(source)
    made = path.with_name(f"{path.name}.restoring-{stamp(wall_ms)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _base(Backup(source, 0) if source is not None else None, made)
        _leap(made)
        verify(made)
        aside = set_aside(path, "replaced", wall_ms)
        for segment in segments(folder_of(path)):
            segment.path.replace(segment.path.with_suffix(f".replaced-{stamp(wall_ms)}"))
        made.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreFailed(f"{source or 'an empty store'} could not be put in place: {error.strerror}") from error
    finally:
        _discard(made)
    return aside


def _discard(made: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        made.with_name(made.name + ending).unlink(missing_ok=True)


def _newest_sound(folder: Path, verify: Verify) -> Backup | None:
    for backup in reversed(backups(folder)):
        with contextlib.suppress(StoreFailed):
            verify(backup.path)
            return backup
    return None


def _base(backup: Backup | None, made: Path) -> None:
    """Begin with the backup, or with an empty store."""
    if backup is not None:
        copy(backup.path, made)
    else:
        os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    database = SqliteDatabase(made)
    with database.named():
        migrate(database.engine)


def _replay(made: Path, folder: Path, backup: Backup | None) -> int:
    """Apply the changes since the backup; return how many there were."""
    after = backup.number if backup is not None else _first_number(folder)
    database, count = SqliteDatabase(made), 0
    with database.named(), database.engine.begin() as connection:
        for change in changes(folder, after):
            for table, rows in change.written:
                _apply(connection, table, rows)
            after, count = change.number, count + 1
        _set_counter(connection, CHANGES, after)
    return count


def _first_number(folder: Path) -> int:
    """Without a backup, begin where the log begins: it may hold rows that nothing else has."""
    found = segments(folder)
    return found[0].after if found else 0


def _apply(connection: Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if name.startswith(GONE):
        table = schema.metadata.tables[name.removeprefix(GONE)]
        for row in rows:
            connection.execute(table.delete().where(*(table.c[key] == value for key, value in row.items())))
    elif name in schema.metadata.tables:
        table = schema.metadata.tables[name]
        for row in rows:
            _put(connection, table, row)


def _put(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    known = {name: value for name, value in row.items() if name in table.c}
    statement = insert(table).values(known)
    others = {name: statement.excluded[name] for name in known if not table.c[name].primary_key}
    if table.name in ONLY_ONCE or not others:
        connection.execute(statement.on_conflict_do_nothing())
    else:
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others))


# --- what only the damaged file has ------------------------------------------------------------------------------


def _save(damaged: Path, made: Path) -> dict[str, int]:
    """Take over rows that prove sound and that the rebuilt store lacks or has older."""
    saved: dict[str, int] = {}
    database = SqliteDatabase(made)
    with database.named(), database.engine.begin() as connection:
        for name in SAVED:
            table = schema.metadata.tables[name]
            saved[name] = 0
            for row in _readable(damaged, table):
                if row[HASH] is not None and is_sound(name, row) and _is_newer(connection, table, row):
                    _put(connection, table, row)
                    saved[name] += 1
    return saved


def _readable(damaged: Path, table: Table) -> Iterator[Mapping[str, Any]]:
    """Yield the rows that can still be read: forward as far as the pages hold, else backward from the end too."""
    (key,) = table.primary_key
    for order in ("ASC", "DESC"):
        try:
            with contextlib.closing(SqliteDatabase(damaged).connect()) as connection:
                connection.execute("PRAGMA query_only = ON")
                cursor = connection.execute(f"SELECT * FROM {table.name} ORDER BY {key.name} {order}")
                names = [column[0] for column in cursor.description]
                for values in cursor:
                    yield dict(zip(names, values, strict=True))
        except DriverError:
            continue
        return


def _is_newer(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Answer whether the rebuilt store lacks a row, or has it older."""
    (key,) = table.primary_key
    have = connection.execute(select(table).where(key == row[key.name])).mappings().first()
    if have is None:
        return table.name != "facts" or _goes_on(connection, row)
    match table.name:
        case "trades":
            return bool((row["version"], row["last_updated"]) > (have["version"], have["last_updated"]))
        case "intents":
            return bool(have["state"] in _EARLY and row["state"] != have["state"])
        case "controls":
            return bool(row["halted"] and not have["halted"])  # a kill switch that was once on stays on
    return False


_EARLY = ("PLANNED", "SENDING", "UNKNOWN")


def _goes_on(connection: Connection, fact: Mapping[str, Any]) -> bool:
    """Answer whether a fact follows on the last one of its ticket."""
    for table in (schema.facts, schema.archived_facts):
        of_ticket = select(table.c.hash).where(table.c.ticket.is_not_distinct_from(fact["ticket"]))
        last = connection.execute(of_ticket.order_by(table.c.id.desc()).limit(1)).scalar()
        if last is not None:
            return bool(last == fact[PREVIOUS])
    return fact[PREVIOUS] is None


# --- numbers -----------------------------------------------------------------------------------------------------


def _leap(made: Path) -> None:
    """Let intents, lease tokens and changes go on beyond all that may have been given; facts where they are."""
    database = SqliteDatabase(made)
    with database.named(), database.engine.begin() as connection:
        intents = _highest(connection, schema.intents.c.number, COUNTER)
        _set_counter(connection, COUNTER, intents + LEAP)
        _set_counter(connection, FACTS, _highest(connection, schema.facts.c.id, FACTS) + LEAP)
        _set_counter(connection, CHANGES, _highest(connection, None, CHANGES) + LEAP)
        _leap_tokens(connection)


def _leap_tokens(connection: Connection) -> None:
    """Give every lease back, with a token above all that was announced under it or wrote an intent."""
    written = connection.execute(select(schema.intents.c.token).order_by(schema.intents.c.token.desc()).limit(1))
    highest = int(written.scalar() or 0)
    leases = {lease["key"]: dict(lease) for lease in connection.execute(select(schema.leases)).mappings()}
    leases.setdefault(ENGINE, {"key": ENGINE, "token": 0, "boot": ""})
    for lease in leases.values():
        given = lease | {"token": max(lease["token"], highest) + LEAP, "holder": "", "expires_s": 0.0}
        _put(connection, schema.leases, sealed("leases", given))


def _highest(connection: Connection, column: Any, counter: str) -> int:
    counters = schema.counters
    counted = connection.execute(select(counters.c.value).where(counters.c.name == counter)).scalar() or 0
    if column is None:
        return int(counted)
    return max(int(counted), int(connection.execute(select(column).order_by(column.desc()).limit(1)).scalar() or 0))


def _set_counter(connection: Connection, name: str, value: int) -> None:
    _put(connection, schema.counters, {"name": name, "value": value})

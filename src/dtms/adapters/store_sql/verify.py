"""Whether what is stored is what was written: pages by SQLite, rows by their hashes, facts by their chain.

Three depths: what a start acts on (``verify_vital``), a slice of everything (``verify_slice``, for a slow pass in the
background), and a whole file (``verify_file``, for a backup).
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtms.adapters.store_sql.hashes import HASH, LAYOUTS, PREVIOUS, Layout
from dtms.adapters.store_sql.rows import ACTED_ON, CLOSABLE, ENDED
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.domain.errors import StoreDamaged

Found = tuple[str, str]
"""A damaged row: its table and its key."""


def _vital(table: str) -> str:
    if table in CLOSABLE:
        return "closed_ms IS NULL"
    if table not in ENDED:
        return "1"
    column, ended = ENDED[table]
    return f"{column} NOT IN ({', '.join(repr(state) for state in sorted(ended))})"


VITAL = {table: _vital(table) for table in ACTED_ON}
"""Where the rows are that are acted on; a state of no known word is among them."""

CHAINED = ("facts", "archived_facts")
BEFORE = "before"
_BEFORE = (
    "(SELECT b.hash FROM {table} b WHERE b.ticket IS f.ticket AND b.id < f.id AND b.hash IS NOT NULL"
    " ORDER BY b.id DESC LIMIT 1)"
)
LINKS = "SELECT f.*, coalesce({}, {}) AS before FROM {{table}} f".format(
    *(_BEFORE.format(table=table) for table in CHAINED)
)
"""Each fact, and the hash of the one before it of the same ticket, which may have gone to the archive."""


def verify_start(database: SqliteDatabase) -> None:
    """Verify what a start needs, reading only: every page, the indexes of what is acted on, and its rows.

    Raises:
        StoreFailed: when the file is gone, cannot be read or is no database; ``StoreDamaged`` when rows are not what
            was written.
    """
    if database.path is None:
        return
    with database.named(), contextlib.closing(database.connect("ro")) as connection:
        _require_ok(database, connection, "quick_check(1)")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in sorted(INDEXED & tables):
            _require_ok(database, connection, f"integrity_check({table})")
        # A file of an earlier revision has no hashes yet, and one that is new has no tables.
        if _is_hashed(connection):
            _require_columns(database, connection)
            verify_vital(connection)


INDEXED = {*ACTED_ON, "counters"}
"""Tables whose indexes are looked at, too, at each start: a row that its index has lost would be overlooked."""


def _require_columns(database: SqliteDatabase, connection: Any) -> None:
    """See that the schema itself was not changed: a column by another name would be missed in silence."""
    missing_yet = _not_yet(connection)
    for table, layout in LAYOUTS.items():
        if table in missing_yet:
            continue
        has = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
        missing = {*layout.kinds, HASH, *([layout.text] if layout.text else [])} - has
        if missing:
            raise database.unsound(f"{table} has no {', '.join(sorted(missing))}")


SINCE_0003 = frozenset({"ownership", "managed", "plans"})


def _not_yet(connection: Any) -> frozenset[str]:
    """Name the tables that a file of an earlier revision does not have yet."""
    revision = connection.execute("SELECT version_num FROM dtms_revision").fetchall()
    return SINCE_0003 if revision == [("0002",)] else frozenset()


def _is_hashed(connection: Any) -> bool:
    return "hash" in {column[1] for column in connection.execute("PRAGMA table_info(trades)")}


def _require_ok(database: SqliteDatabase, connection: Any, check: str) -> None:
    (told,) = connection.execute(f"PRAGMA {check}").fetchone()
    if told != "ok":
        raise database.unsound(told)


def verify_vital(connection: Any) -> None:
    """Verify every row that a start acts on, on a driver's connection.

    Raises:
        StoreDamaged: naming the rows that are not what was written.
    """
    not_yet = _not_yet(connection)
    vital = {table: where for table, where in VITAL.items() if table not in not_yet}
    found = [row for table, where in vital.items() for row in damaged(connection, table, where)]
    if found:
        raise StoreDamaged(tuple(found))


def damaged(connection: Any, table: str, where: str = "1") -> Iterator[Found]:
    """Yield the rows of a table whose content is not what their hash was made of."""
    layout = LAYOUTS[table]
    for row in _rows(connection, f"SELECT * FROM {table} WHERE {where}"):
        if not layout.is_sound(row):
            yield table, layout.key_of(row)


def verify_chain(connection: Any, ticket: int | None) -> list[Found]:
    """Return the facts of a ticket that are damaged or do not follow on the one before them."""
    return [
        found
        for table in CHAINED
        for found in _broken(table, _rows(connection, f"{_links(table)} WHERE f.ticket IS ? ORDER BY f.id", ticket))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pass over the store goes on: after this key of this table; the first place has no key."""

    table: str
    after: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubbed:
    """What a slice of a pass found."""

    rows: int
    """How many were looked at."""
    damages: tuple[Found, ...]
    next: Place | None
    """None when the pass is through."""


def verify_slice(connection: Any, place: Place | None, limit: int) -> Scrubbed:
    """Verify the next ``limit`` rows of a pass; a pass begins without a place."""
    at = place or Place(table=_ORDER[0])
    if at.table in _not_yet(connection):
        return Scrubbed(rows=0, damages=(), next=_first_of_next(at.table))
    layout = LAYOUTS[at.table]
    rows = list(_rows(connection, *_slice_query(at, layout, limit)))
    broken = list(_broken(at.table, rows) if at.table in CHAINED else _damaged_of(at.table, rows))
    if len(rows) == limit:
        after = tuple(rows[-1][name] for name in layout.key)
        return Scrubbed(rows=limit, damages=tuple(broken), next=Place(table=at.table, after=after))
    broken += _unsound_pages(connection, at.table)
    return Scrubbed(rows=len(rows), damages=tuple(broken), next=_first_of_next(at.table))


def _unsound_pages(connection: Any, table: str) -> list[Found]:
    """Let SQLite look at a table's pages and indexes, when all of its rows were looked at."""
    (told,) = connection.execute(f"PRAGMA integrity_check({table})").fetchone()
    if told == "ok":
        return []
    if table in ACTED_ON:  # a row that its index has lost would be overlooked
        raise StoreDamaged((), f"{table} is not sound ({told})")
    return [(table, str(told))]


_ORDER = tuple(LAYOUTS)


def _first_of_next(table: str) -> Place | None:
    follows = _ORDER.index(table) + 1
    return Place(table=_ORDER[follows]) if follows < len(_ORDER) else None


def _slice_query(at: Place, layout: Layout, limit: int) -> tuple[Any, ...]:
    key = ", ".join(f'f."{name}"' for name in layout.key)
    marks = ", ".join("?" for _ in layout.key)
    chosen = _links(at.table) if at.table in CHAINED else f"SELECT f.* FROM {at.table} f"
    where = f" WHERE ({key}) > ({marks})" if at.after else ""
    return f"{chosen}{where} ORDER BY {key} LIMIT ?", *at.after, limit


def verify_file(path: Path) -> None:
    """Verify a whole file: its pages and indexes, every row, every chain.

    Raises:
        StoreFailed: when it cannot be read, or is no database; ``StoreDamaged`` when rows are not what was written.
    """
    database = SqliteDatabase(path)
    with database.named(), contextlib.closing(database.connect("ro")) as connection:
        _require_ok(database, connection, "integrity_check(1)")
        _require_columns(database, connection)
        found = list(_all_damaged(connection))
    if found:
        raise StoreDamaged(tuple(found))


def _all_damaged(connection: Any) -> Iterator[Found]:
    place: Place | None = None
    while True:
        report = verify_slice(connection, place, _SLICE)
        yield from report.damages
        place = report.next
        if place is None:
            return


_SLICE = 5_000


def _links(table: str) -> str:
    return LINKS.format(table=table)


def _damaged_of(table: str, rows: Sequence[dict[str, Any]]) -> Iterator[Found]:
    layout = LAYOUTS[table]
    return ((table, layout.key_of(row)) for row in rows if not layout.is_sound(row))


def _broken(table: str, rows: Any) -> Iterator[Found]:
    """Yield facts that are damaged, or whose predecessor is not the one that they were chained to."""
    layout = LAYOUTS[table]
    for row in rows:
        is_linked = row[HASH] is None or row[PREVIOUS] == row[BEFORE]
        if not (is_linked and layout.is_sound(row)):
            yield table, layout.key_of(row)


def _rows(connection: Any, sql: str, *values: Any) -> Iterator[dict[str, Any]]:
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))

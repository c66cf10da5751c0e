"""Putting right at a start what may be put right: rows without a hash, counters that fell behind.

Rows get their hashes that were written by a program which knew none: after a migration, and after a step back.

A row must read as a value before it is believed. Facts are chained on where they follow on what is chained; one in the
middle of a chain stays as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Table, and_, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.codec import UNSTORABLE
from dtms.adapters.store_sql.hashes import HASH, LAYOUTS, PREVIOUS, sealed
from dtms.adapters.store_sql.schema import HASHED, archived_facts, counters, facts
from dtms.domain.errors import StoreDamaged, StoreFailed

SLICE = 2_000
"""Rows of one transaction: a start that is killed goes on from there."""

READ: Mapping[str, Callable[[rows.Stored], object]] = {
    "trades": rows.trade_of,
    "intents": rows.intent_of,
    "facts": rows.fact_of,
    "evaluations": rows.evaluation_of,
    "controls": rows.controls_of,
    "rails": rows.rails_of,
    "kept": rows.kept_of,
    "ownership": rows.ownership_of,
    "managed": rows.managed_of,
    "plans": rows.plan_of,
}


def adopt(engine: Engine) -> int:
    """Give every row without a hash its own, and return how many got one.

    Raises:
        StoreDamaged: when such a row cannot be read.
    """
    with engine.begin() as connection:
        needy = [table for table in HASHED if connection.exec_driver_sql(_ANY_UNHASHED.format(table.name)).scalar()]
    return sum(_adopt_table(engine, table) for table in needy)


_ANY_UNHASHED = "SELECT EXISTS (SELECT 1 FROM {} WHERE hash IS NULL)"


def lift_counters(engine: Engine) -> None:
    """Raise a counter that stands below a number that was given, so that none is given twice."""
    with engine.begin() as connection:
        for name, highest in connection.exec_driver_sql(HIGHEST).all():
            stands = connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar()
            if stands is None:
                connection.execute(insert(counters).values(name=name, value=highest))
            else:
                connection.execute(update(counters).where(counters.c.name == name).values(value=highest))


HIGHEST = """
SELECT name, highest FROM (
    SELECT 'intents' AS name, max(n) AS highest
    FROM (SELECT max(number) AS n FROM intents UNION ALL SELECT max(number) FROM archived_intents)
    UNION ALL SELECT 'facts', max(n)
    FROM (SELECT max(id) AS n FROM facts UNION ALL SELECT max(id) FROM archived_facts)
) AS given WHERE highest > coalesce((SELECT value FROM counters WHERE counters.name = given.name), 0)
"""
"""Counters that stand below the highest number that was given, and that number."""


def _adopt_table(engine: Engine, table: Table) -> int:
    adopted, after = 0, None
    while True:
        with engine.begin() as connection:
            found = list(connection.execute(_unhashed(table, after)).mappings())
            adopted += sum(_adopt_row(connection, table, dict(row)) for row in found)
        if len(found) < SLICE:
            return adopted
        after = found[-1]


def _unhashed(table: Table, after: Mapping[Any, Any] | None) -> Any:
    keys = list(table.primary_key)
    statement = select(table).where(table.c.hash.is_(None)).order_by(*keys).limit(SLICE)
    # Only facts can stay without a hash, and would be found again: their key is one column.
    return statement if after is None or len(keys) > 1 else statement.where(keys[0] > after[keys[0].name])


def _adopt_row(connection: Connection, table: Table, row: dict[str, Any]) -> int:
    if table is facts:
        if _is_followed(connection, row):
            return 0
        row[PREVIOUS] = _last_hash(connection, row)
    given = _sealed(table.name, row)
    same = and_(*(column == row[column.name] for column in table.primary_key))
    connection.execute(update(table).where(same).values({k: given[k] for k in (HASH, PREVIOUS) if k in given}))
    return 1


def _sealed(table: str, row: dict[str, Any]) -> dict[str, Any]:
    try:
        if table in READ:
            READ[table](row)
        return sealed(table, row)
    except (*UNSTORABLE, StoreFailed) as error:
        raise StoreDamaged(((table, LAYOUTS[table].key_of(row)),)) from error


def _is_followed(connection: Connection, row: Mapping[str, Any]) -> bool:
    later = and_(_same_ticket(facts, row), facts.c.id > row["id"], facts.c.hash.is_not(None))
    return connection.execute(select(facts.c.id).where(later).limit(1)).first() is not None


def _last_hash(connection: Connection, row: Mapping[str, Any]) -> str | None:
    for table in (facts, archived_facts):
        chained = and_(_same_ticket(table, row), table.c.hash.is_not(None))
        found = connection.execute(select(table.c.hash).where(chained).order_by(table.c.id.desc()).limit(1)).first()
        if found is not None:
            return str(found[0])
    return None


def _same_ticket(table: Table, row: Mapping[str, Any]) -> ColumnElement[bool]:
    return table.c.ticket.is_not_distinct_from(row["ticket"])

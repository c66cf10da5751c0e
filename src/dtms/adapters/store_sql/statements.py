"""The writer's statements, written once in SQLAlchemy and compiled once for the database in use.

They run on the driver's cursor, because they run some ten thousand times a second. What PostgreSQL and SQLite share
(``ON CONFLICT``, ``RETURNING``) is spelt by the dialect's own ``insert``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Dialect, Select, Table, and_, bindparam, delete, func, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from dtms.adapters.store_sql import schema

Row = Mapping[str, Any]
Bound = tuple[Any, ...] | Row

EXPIRED_MAX = 16
"""How many expired values one commit removes."""

PROGRAMS = ("engine", "main")
"""Leases that a program has for its whole life; all others come and go with what they are for."""

_INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Statement:
    """A compiled statement, and how a row becomes its parameters."""

    sql: str
    bind: Callable[[Row], Bound]
    columns: tuple[str, ...] = ()
    """Of the rows that it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """All that the writer says. Parameters are named after the columns."""

    put_trade: Statement
    put_intent: Statement
    add_fact: Statement
    add_evaluation: Statement
    put_controls: Statement
    put_rails: Statement
    put_lease: Statement
    put_kept: Statement
    put_ownership: Statement
    put_managed: Statement
    put_plan: Statement
    put_pending: Statement
    forget: Statement
    expired: Statement
    count_up: Statement
    counter: Statement
    same_trades: Statement
    trade: Statement
    ownership: Statement
    plan: Statement
    controls: Statement
    lease: Statement
    some_leases: Statement
    drop_lease: Statement
    count_facts: Statement
    last_fact: Statement


_DIALECTS: dict[str, Callable[[], Dialect]] = {
    "sqlite": lambda: sqlite.dialect(paramstyle="qmark"),
    "postgresql": postgresql.dialect,
}


@cache
def compile_statements(name: str) -> Statements:
    """Compile every statement for the dialect of this name."""
    dialect = _DIALECTS[name]()
    trades, leases, controls, kept = schema.trades, schema.leases, schema.controls, schema.kept
    ownership, plans = schema.ownership, schema.plans
    insert = _INSERTS[dialect.name]
    position = and_(
        trades.c.identifier == bindparam("identifier"),
        trades.c.login == bindparam("login"),
        trades.c.server == bindparam("server"),
    )
    same = or_(trades.c.ticket == bindparam("ticket"), position)
    said: dict[str, ClauseElement] = {
        "put_trade": _upsert(insert, trades),
        "put_intent": _upsert(insert, schema.intents),
        "add_fact": insert(schema.facts),
        "add_evaluation": insert(schema.evaluations).on_conflict_do_nothing(),
        "put_controls": _upsert(insert, controls),
        "put_rails": _upsert(insert, schema.rails),
        "put_lease": _upsert(insert, leases),
        "put_kept": _upsert(insert, kept),
        "put_ownership": _upsert(insert, ownership),
        "put_managed": _upsert(insert, schema.managed),
        "put_plan": _upsert(insert, plans),
        "put_pending": insert(schema.pending_changes),
        "forget": delete(kept).where(kept.c.kind == bindparam("kind"), kept.c.key == bindparam("key")),
        "expired": select(kept.c.kind, kept.c.key).where(kept.c.expires_ms <= bindparam("now_ms")).limit(EXPIRED_MAX),
        "count_up": _count_up(insert),
        "counter": select(func.max(schema.counters.c.value)).where(schema.counters.c.name == bindparam("name")),
        "same_trades": select(trades).where(same),
        "trade": select(trades).where(trades.c.ticket == bindparam("ticket")),
        "ownership": select(ownership).where(ownership.c.ticket == bindparam("ticket")),
        "plan": select(plans).where(plans.c.id == bindparam("id")),
        "controls": select(controls),
        "lease": select(leases).where(leases.c.key == bindparam("key")),
        "some_leases": select(leases).where(*(leases.c.key != name for name in PROGRAMS)).limit(bindparam("limit")),
        "drop_lease": delete(leases).where(leases.c.key == bindparam("key")),
        "count_facts": _count_up(insert).returning(_last_of_chain()),
        "last_fact": select(_last_of_chain()),
    }
    return Statements(**{name: _compiled(clause, dialect) for name, clause in said.items()})


def _upsert(insert: Callable[[Table], Any], table: Table) -> ClauseElement:
    """Write a row whole, whether its key exists or not."""
    statement = insert(table)
    others = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    clause: ClauseElement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)
    return clause


def _last_of_chain() -> ColumnElement[str | None]:
    """Find the hash that a ticket's next fact follows on; its last ones may be in the archive."""
    found = [
        select(facts.c.hash)
        .where(facts.c.ticket.is_not_distinct_from(bindparam("ticket")), facts.c.hash.is_not(None))
        .order_by(facts.c.id.desc())
        .limit(literal_column("1"))
        .scalar_subquery()
        for facts in (schema.facts, schema.archived_facts)
    ]
    return func.coalesce(*found)


def _count_up(insert: Callable[[Table], Any]) -> Any:
    """Raise a counter by ``value``, and return what it was raised to."""
    counters = schema.counters
    statement = insert(counters)
    raised = statement.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"value": counters.c.value + statement.excluded.value}
    )
    return raised.returning(counters.c.value)


def _compiled(clause: ClauseElement, dialect: Dialect) -> Statement:
    compiled = clause.compile(dialect=dialect)
    names: Iterable[str] | None = getattr(compiled, "positiontup", None)
    columns = tuple(clause.selected_columns.keys()) if isinstance(clause, Select) else ()
    bind = _same if names is None else _by_position(list(names))
    fixed = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(str(compiled), (lambda row: bind({**row, **fixed})) if fixed else bind, columns)


def _same(row: Row) -> Bound:
    return row


def _nothing(_: Row) -> Bound:
    return ()


def _by_position(names: list[str]) -> Callable[[Row], Bound]:
    if not names:
        return _nothing
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return itemgetter(*names)

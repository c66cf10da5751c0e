"""Closed trades move to tables of their own after a while, with their intents and facts, each in one transaction.

Rows keep their hashes, and a ticket's chain of facts goes on from its archived end. Intents of positions that never
were trades of DTMS move by themselves. What the registry, the managers and plans hold of what has ended is removed:
the journal tells of it.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Table

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.statements import Statement
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.actions import IntentState
from dtms.domain.plans import PlanStatus
from dtms.domain.trade import State

DAY_MS = 86_400_000
MOVED: Sequence[tuple[Table, Table]] = (
    (schema.facts, schema.archived_facts),
    (schema.intents, schema.archived_intents),
    (schema.trades, schema.archived_trades),
)
_OPEN = ", ".join(f"'{state.value}'" for state in IntentState if state.is_open)
_OLD = Statement(
    "SELECT ticket FROM trades t WHERE t.state = ? AND t.last_updated < ?"
    f" AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.ticket = t.ticket AND i.state IN ({_OPEN}))"
    " ORDER BY t.last_updated LIMIT ?",
    itemgetter("state", "before_ms", "limit"),
    ("ticket",),
)


def _of_ticket(table: Table) -> Statement:
    names = tuple(column.name for column in table.columns)
    return Statement(f"SELECT {', '.join(names)} FROM {table.name} WHERE ticket = ?", _only("ticket"), names)


def _insert(table: Table) -> Statement:
    names = [column.name for column in table.columns]
    marks = ", ".join("?" for _ in names)
    (key,) = table.primary_key
    # On a netting account a position's ticket can have a second life, and be archived again: the last one stays.
    others = ", ".join(f"{name} = excluded.{name}" for name in names if name != key.name)
    said = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"
    return Statement(f"{said} ON CONFLICT ({key.name}) DO UPDATE SET {others}", itemgetter(*names))


def _delete(table: Table) -> Statement:
    (key,) = table.primary_key
    return Statement(f"DELETE FROM {table.name} WHERE {key.name} = ?", _only(key.name))


def _only(name: str) -> Any:
    return lambda row: (row[name],)


_STATEMENTS = {here.name: (_of_ticket(here), _insert(there), _delete(here)) for here, there in MOVED}


_OVER = ", ".join(f"'{status.value}'" for status in PlanStatus if not status.is_open)
_LONE = Statement(
    f"SELECT {', '.join(c.name for c in schema.intents.columns)} FROM intents i"
    f" WHERE i.created_ms < ? AND i.state NOT IN ({_OPEN})"
    " AND NOT EXISTS (SELECT 1 FROM trades t WHERE t.ticket = i.ticket) ORDER BY i.number LIMIT ?",
    itemgetter("before_ms", "limit"),
    tuple(c.name for c in schema.intents.columns),
)


def _ended(table: Table, where: str) -> tuple[Table, Statement, Statement]:
    """Say how the keys of what has ended are found, and how a row is removed by its key."""
    keys = tuple(column.name for column in table.primary_key)
    find = f"SELECT {', '.join(keys)} FROM {table.name} WHERE {where} LIMIT ?"
    remove = f"DELETE FROM {table.name} WHERE {' AND '.join(f'{key} = ?' for key in keys)}"
    return (
        table,
        Statement(find, itemgetter("before_ms", "limit"), keys),
        Statement(remove, lambda row: tuple(row[key] for key in keys)),
    )


_ENDED = (
    _ended(schema.ownership, "closed_ms < ?"),
    _ended(schema.managed, "closed_ms < ?"),
    _ended(schema.plans, f"status IN ({_OVER}) AND status_ms < ?"),
)


def prune(tx: Transaction, before_ms: int, limit: int) -> None:
    """Remove up to ``limit`` rows of each kind that ended before a moment of market time, and archive lone intents."""
    for table, find, forget in _ENDED:
        tx.take(forget, table.name, tx.rows(find, {"before_ms": before_ms, "limit": limit}))
    lone = tx.rows(_LONE, {"before_ms": before_ms, "limit": limit})
    _, write, remove = _STATEMENTS["intents"]
    tx.put(write, "archived_intents", lone)
    tx.take(remove, "intents", [{"number": row["number"]} for row in lone])


def archive(tx: Transaction, before_ms: int, limit: int) -> int:
    """Move up to ``limit`` trades that were closed before a moment of market time; return how many were moved."""
    old = tx.rows(_OLD, {"state": State.CLOSED.value, "before_ms": before_ms, "limit": limit})
    for trade in old:
        for here, there in MOVED:
            _move(tx, here, there, trade["ticket"])
    return len(old)


def _move(tx: Transaction, here: Table, there: Table, ticket: int) -> None:
    read, write, remove = _STATEMENTS[here.name]
    rows: Sequence[Mapping[str, Any]] = tx.rows(read, {"ticket": ticket})
    (key,) = here.primary_key
    tx.put(write, there.name, rows)
    tx.take(remove, here.name, [{key.name: row[key.name]} for row in rows])

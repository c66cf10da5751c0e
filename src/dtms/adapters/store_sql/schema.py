"""The tables. Columns are what is queried or checked; the rest of a value is JSON text in ``memory`` or ``body``.

Prices are doubles, which come back bit-identical; volumes are decimal text, which comes back with its digits. CHECK
constraints keep NaN and infinity out whatever writes: SQLite turns a NaN into NULL, PostgreSQL sorts it above all.
Times are UTC milliseconds on the market's clock; lease expiries are seconds on the machine's monotonic clock.

Every row has a ``hash`` over its other columns (``hashes.py``), because SQLite's pages have no checksums. Schema
changes expand first: a program of the revision before goes on reading and writing a store that was expanded. It knows
no hashes, so ``hash`` may be NULL, and a trigger takes a row's hash away when the row was changed and its hash was
not. Rows without one are believed as they were before there were hashes, and get theirs when a store is opened. Hence
``hash`` stays over these columns for ever: a later revision that adds content puts it into ``memory`` or ``body``,
or gives its new columns a hash of their own.
"""

from typing import Any

from sqlalchemy import DDL, BigInteger, Boolean, CheckConstraint, Column, Double, Index, String, Table, Text, event

from dtms.adapters.store_sql.columns import METADATA, RowId, finite, price, unhashed, volume

metadata = METADATA
"""Of all tables, once this file was read."""


def _trades() -> tuple[Any, ...]:
    """Return columns and checks of trades, for the table in use and for its archive."""
    return (
        Column("ticket", RowId, primary_key=True, autoincrement=False),
        Column("identifier", BigInteger, nullable=False),
        Column("login", BigInteger, nullable=False),
        Column("server", Text, nullable=False),
        Column("symbol", Text, nullable=False),
        Column("direction", String(4), nullable=False),
        Column("entry_price", Double, nullable=False),
        Column("volume", Text, nullable=False),
        Column("stop_loss", Double),
        Column("take_profit", Double),
        Column("initial_volume", Text, nullable=False),
        Column("initial_stop", Double),
        Column("risk", Double, nullable=False),
        Column("state", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("mode", Text),
        Column("disabled", Boolean, nullable=False),
        Column("registered_at", BigInteger, nullable=False),
        Column("last_updated", BigInteger, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("memory", Text, nullable=False),
        Column("hash", Text),
        CheckConstraint("direction IN ('BUY', 'SELL')", name="direction"),
        *(price(column) for column in ("entry_price", "stop_loss", "take_profit", "initial_stop", "risk")),
        *(volume(column) for column in ("volume", "initial_volume")),
    )


trades = Table(
    "trades",
    metadata,
    *_trades(),
    Index("ix_trades_state", "state"),
    Index("ix_trades_registered_at", "registered_at", "ticket"),
    Index("ix_trades_identifier", "identifier", "login", "server"),
    unhashed("trades", "ticket"),
)
archived_trades = Table(
    "archived_trades",
    metadata,
    *_trades(),
    Index("ix_archived_trades_registered_at", "registered_at", "ticket"),
)


def _intents() -> tuple[Any, ...]:
    """Return columns and checks of intents, for the table in use and for its archive."""
    return (
        Column("number", RowId, primary_key=True, autoincrement=False),
        Column("ticket", BigInteger, nullable=False),
        Column("state", Text, nullable=False),
        Column("token", BigInteger, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("body", Text, nullable=False),
        Column("hash", Text),
        CheckConstraint("number > 0 AND number < 1099511627776", name="number"),
    )


intents = Table(
    "intents",
    metadata,
    *_intents(),
    Index("ix_intents_ticket", "ticket", "number"),
    Index("ix_intents_state", "state"),
    unhashed("intents", "number"),
)
archived_intents = Table(
    "archived_intents", metadata, *_intents(), Index("ix_archived_intents_ticket", "ticket", "number")
)


def _facts() -> tuple[Any, ...]:
    """Return columns and checks of facts, for the table in use and for its archive."""
    return (
        Column("id", RowId, primary_key=True, autoincrement=False),
        Column("kind", Text, nullable=False),
        Column("ticket", BigInteger),
        Column("symbol", Text),
        Column("market_ms", BigInteger, nullable=False),
        Column("machine_ms", BigInteger, nullable=False),
        Column("correlation_id", Text),
        Column("summary", Text, nullable=False),
        Column("details", Text, nullable=False),
        Column("previous", Text),
        Column("hash", Text),
    )


facts = Table(
    "facts",
    metadata,
    *_facts(),
    Index("ix_facts_ticket", "ticket", "id"),
    Index("ix_facts_kind", "kind", "id"),
    Index("ix_facts_market_ms", "market_ms"),
    unhashed("facts", "id"),
)
archived_facts = Table("archived_facts", metadata, *_facts(), Index("ix_archived_facts_ticket", "ticket", "id"))

evaluations = Table(
    "evaluations",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("direction", String(4), primary_key=True),
    Column("bar_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("score", Double, nullable=False),
    Column("regime", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text),
    finite("score"),
    unhashed("evaluations", "bar_ms"),
)

controls = Table(
    "controls",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("halted", Boolean, nullable=False),
    Column("halt_reason", Text),
    Column("halted_ms", BigInteger),
    Column("mode", Text),
    Column("hash", Text),
    CheckConstraint("id = 1", name="single"),
)

rails = Table(
    "rails",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("hash", Text),
    CheckConstraint("id = 1", name="single"),
)

leases = Table(
    "leases",
    metadata,
    Column("key", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("boot", Text, nullable=False),
    Column("expires_s", Double, nullable=False),
    Column("hash", Text),
    finite("expires_s"),
)
"""A released lease keeps its row, with an empty holder, so that its next token is higher."""

kept = Table(
    "kept",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("hash", Text),
    Index("ix_kept_expires_ms", "expires_ms"),
)
"""Small values; ``at_ms`` and ``expires_ms`` are the wall clock's."""

ownership = Table(
    "ownership",
    metadata,
    Column("ticket", RowId, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("mode", Text),
    Column("closed_ms", BigInteger),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text),
    Index("ix_ownership_closed_ms", "closed_ms"),
)
"""The registry; an entry that is closed stays for a while."""

managed = Table(
    "managed",
    metadata,
    Column("manager", Text, primary_key=True),
    Column("ticket", BigInteger, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
    Column("closed_ms", BigInteger),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text),
    Index("ix_managed_ticket", "ticket"),
    Index("ix_managed_closed_ms", "closed_ms"),
)

plans = Table(
    "plans",
    metadata,
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("status_ms", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text),
    Index("ix_plans_status", "status", "created_ms"),
    Index("ix_plans_created_ms", "created_ms"),
)

pending_changes = Table(
    "pending_changes",
    metadata,
    Column("number", RowId, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""What a process that does not keep the store has committed, until the one that keeps it has it in its change log."""

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given, by name: never given again, whatever is deleted. A fact's id is also its place in the order
of commits, which a database sequence would not promise."""

HASHED = (trades, intents, facts, evaluations, controls, rails, leases, kept, ownership, managed, plans)
"""Tables whose rows carry a hash, beside the archives."""

REWRITTEN = (trades, intents, controls, rails, leases)
"""Tables whose rows a program that knows no hashes would change."""


def unhash_trigger(table: Table) -> str:
    """Say how a row loses a hash that its writer did not renew (SQLite's SQL)."""
    content = [c.name for c in table.columns if c.name != "hash" and not c.primary_key]
    differs = " OR ".join(f'NEW."{name}" IS NOT OLD."{name}"' for name in content)
    key = " AND ".join(f'"{c.name}" = NEW."{c.name}"' for c in table.primary_key)
    return (
        f"CREATE TRIGGER {table.name}_unhashed AFTER UPDATE ON {table.name}"
        f" WHEN NEW.hash IS NOT NULL AND NEW.hash IS OLD.hash AND ({differs})"
        f" BEGIN UPDATE {table.name} SET hash = NULL WHERE {key}; END"
    )


for _table in REWRITTEN:
    event.listen(_table, "after_create", DDL(unhash_trigger(_table)).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]

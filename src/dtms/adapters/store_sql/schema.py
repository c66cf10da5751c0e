"""The tables. Columns are what is queried or checked; the rest of a value is JSON text in ``memory`` or ``body``.

Prices are doubles, which come back bit-identical; volumes are decimal text, which comes back with its digits. CHECK
constraints keep NaN and infinity out whatever writes: SQLite turns a NaN into NULL, PostgreSQL sorts it above all.
Times are UTC milliseconds on the market's clock; lease expiries are seconds on the machine's monotonic clock.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(column_0_N_label)s",
    }
)

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A whole-number key; spelt INTEGER, SQLite needs no second index for it."""

HUGE = "1e308"


def _price(column: str) -> CheckConstraint:
    """Require a positive finite number; absent is NULL, never 0."""
    return CheckConstraint(f"{column} > 0 AND {column} < {HUGE}", name=column)


def _finite(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} > -{HUGE} AND {column} < {HUGE}", name=column)


def _volume(column: str) -> CheckConstraint:
    """Require digits: every spelling of NaN and infinity has an N."""
    return CheckConstraint(f"length({column}) BETWEEN 1 AND 40 AND lower({column}) NOT LIKE '%n%'", name=column)


trades = Table(
    "trades",
    metadata,
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
    CheckConstraint("direction IN ('BUY', 'SELL')", name="direction"),
    *(_price(column) for column in ("entry_price", "stop_loss", "take_profit", "initial_stop", "risk")),
    *(_volume(column) for column in ("volume", "initial_volume")),
    Index("ix_trades_state", "state"),
    Index("ix_trades_registered_at", "registered_at", "ticket"),
    Index("ix_trades_identifier", "identifier", "login", "server"),
)

intents = Table(
    "intents",
    metadata,
    Column("number", RowId, primary_key=True, autoincrement=False),
    Column("ticket", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    CheckConstraint("number > 0 AND number < 1099511627776", name="number"),
    Index("ix_intents_ticket", "ticket", "number"),
    Index("ix_intents_state", "state"),
)

facts = Table(
    "facts",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("ticket", BigInteger),
    Column("symbol", Text),
    Column("market_ms", BigInteger, nullable=False),
    Column("machine_ms", BigInteger, nullable=False),
    Column("correlation_id", Text),
    Column("summary", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index("ix_facts_ticket", "ticket", "id"),
    Index("ix_facts_kind", "kind", "id"),
    Index("ix_facts_market_ms", "market_ms"),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("direction", String(4), primary_key=True),
    Column("bar_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("score", Double, nullable=False),
    Column("regime", Text, nullable=False),
    Column("body", Text, nullable=False),
    _finite("score"),
)

controls = Table(
    "controls",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("halted", Boolean, nullable=False),
    Column("halt_reason", Text),
    Column("halted_ms", BigInteger),
    Column("mode", Text),
    CheckConstraint("id = 1", name="single"),
)

rails = Table(
    "rails",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
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
    _finite("expires_s"),
)
"""A released lease keeps its row, with an empty holder, so that its next token is higher."""

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given, by name: never given again, whatever is deleted. A fact's id is also its place in the order
of commits, which a database sequence would not promise."""

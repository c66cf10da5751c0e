"""Give rows their hashes, facts their chain, small values and closed trades their tables.

Nothing is taken away and every new column may be NULL: a program of revision 0001 goes on working with the store.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _ck(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _price(column: str) -> sa.CheckConstraint:
    return _ck("archived_trades", column, f"{column} > 0 AND {column} < 1e308")


def _volume(column: str) -> sa.CheckConstraint:
    rule = f"length({column}) BETWEEN 1 AND 40 AND lower({column}) NOT LIKE '%n%'"
    return _ck("archived_trades", column, rule)


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def upgrade() -> None:
    for table in ("trades", "intents", "evaluations", "controls", "rails", "leases"):
        op.add_column(table, sa.Column("hash", sa.Text))
    op.add_column("facts", sa.Column("previous", sa.Text))
    op.add_column("facts", sa.Column("hash", sa.Text))
    where = sa.text("hash IS NULL")
    for table, key in (("trades", "ticket"), ("intents", "number"), ("facts", "id"), ("evaluations", "bar_ms")):
        op.create_index(f"ix_{table}_unhashed", table, [key], sqlite_where=where, postgresql_where=where)
    if op.get_bind().dialect.name == "sqlite":
        for table, key, content in REWRITTEN:
            _make_trigger(table, key, content.split())
    _make_kept()
    _make_archived_trades()
    _make_archived_rows()


REWRITTEN = (
    (
        "trades",
        "ticket",
        "identifier login server symbol direction entry_price volume stop_loss take_profit initial_volume initial_stop"
        " risk state owner mode disabled registered_at last_updated version memory",
    ),
    ("intents", "number", "ticket state token created_ms body"),
    ("controls", "id", "halted halt_reason halted_ms mode"),
    ("rails", "id", "body"),
    ("leases", "key", "holder token boot expires_s"),
)
"""Tables whose rows a program of revision 0001 changes, their keys and their content."""


def _make_trigger(table: str, key: str, content: list[str]) -> None:
    """Take the hash from a row that was changed by a program that knows none."""
    differs = " OR ".join(f'NEW."{name}" IS NOT OLD."{name}"' for name in content)
    op.execute(
        f"CREATE TRIGGER {table}_unhashed AFTER UPDATE ON {table}"
        f" WHEN NEW.hash IS NOT NULL AND NEW.hash IS OLD.hash AND ({differs})"
        f' BEGIN UPDATE {table} SET hash = NULL WHERE "{key}" = NEW."{key}"; END'
    )


def _make_kept() -> None:
    op.create_table(
        "kept",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("hash", sa.Text),
        _pk("kept", "kind", "key"),
    )
    op.create_index("ix_kept_expires_ms", "kept", ["expires_ms"])


def _make_archived_trades() -> None:
    op.create_table(
        "archived_trades",
        sa.Column("ticket", RowId, autoincrement=False, nullable=False),
        sa.Column("identifier", sa.BigInteger, nullable=False),
        sa.Column("login", sa.BigInteger, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("entry_price", sa.Double, nullable=False),
        sa.Column("volume", sa.Text, nullable=False),
        sa.Column("stop_loss", sa.Double),
        sa.Column("take_profit", sa.Double),
        sa.Column("initial_volume", sa.Text, nullable=False),
        sa.Column("initial_stop", sa.Double),
        sa.Column("risk", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("mode", sa.Text),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("last_updated", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("memory", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        _pk("archived_trades", "ticket"),
        _ck("archived_trades", "direction", "direction IN ('BUY', 'SELL')"),
        *(_price(column) for column in ("entry_price", "stop_loss", "take_profit", "initial_stop", "risk")),
        *(_volume(column) for column in ("volume", "initial_volume")),
    )
    op.create_index("ix_archived_trades_registered_at", "archived_trades", ["registered_at", "ticket"])


def _make_archived_rows() -> None:
    op.create_table(
        "archived_intents",
        sa.Column("number", RowId, autoincrement=False, nullable=False),
        sa.Column("ticket", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        _pk("archived_intents", "number"),
        _ck("archived_intents", "number", "number > 0 AND number < 1099511627776"),
    )
    op.create_index("ix_archived_intents_ticket", "archived_intents", ["ticket", "number"])
    op.create_table(
        "archived_facts",
        sa.Column("id", RowId, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ticket", sa.BigInteger),
        sa.Column("symbol", sa.Text),
        sa.Column("market_ms", sa.BigInteger, nullable=False),
        sa.Column("machine_ms", sa.BigInteger, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        sa.Column("hash", sa.Text),
        _pk("archived_facts", "id"),
    )
    op.create_index("ix_archived_facts_ticket", "archived_facts", ["ticket", "id"])

"""Make the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _ck(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _price(column: str) -> sa.CheckConstraint:
    return _ck("trades", column, f"{column} > 0 AND {column} < 1e308")


def _volume(column: str) -> sa.CheckConstraint:
    return _ck("trades", column, f"length({column}) BETWEEN 1 AND 40 AND lower({column}) NOT LIKE '%n%'")


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def upgrade() -> None:
    _make_trades()
    _make_intents()
    _make_journal()
    _make_singles()
    _make_leases()


def _make_trades() -> None:
    op.create_table(
        "trades",
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
        _pk("trades", "ticket"),
        _ck("trades", "direction", "direction IN ('BUY', 'SELL')"),
        *(_price(column) for column in ("entry_price", "stop_loss", "take_profit", "initial_stop", "risk")),
        *(_volume(column) for column in ("volume", "initial_volume")),
    )
    op.create_index("ix_trades_state", "trades", ["state"])
    op.create_index("ix_trades_registered_at", "trades", ["registered_at", "ticket"])
    op.create_index("ix_trades_identifier", "trades", ["identifier", "login", "server"])


def _make_intents() -> None:
    op.create_table(
        "intents",
        sa.Column("number", RowId, autoincrement=False, nullable=False),
        sa.Column("ticket", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _pk("intents", "number"),
        _ck("intents", "number", "number > 0 AND number < 1099511627776"),
    )
    op.create_index("ix_intents_ticket", "intents", ["ticket", "number"])
    op.create_index("ix_intents_state", "intents", ["state"])


def _make_journal() -> None:
    op.create_table(
        "facts",
        sa.Column("id", RowId, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ticket", sa.BigInteger),
        sa.Column("symbol", sa.Text),
        sa.Column("market_ms", sa.BigInteger, nullable=False),
        sa.Column("machine_ms", sa.BigInteger, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        _pk("facts", "id"),
    )
    op.create_index("ix_facts_ticket", "facts", ["ticket", "id"])
    op.create_index("ix_facts_kind", "facts", ["kind", "id"])
    op.create_index("ix_facts_market_ms", "facts", ["market_ms"])
    op.create_table(
        "evaluations",
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("bar_ms", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("regime", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _pk("evaluations", "symbol", "direction", "bar_ms"),
        _ck("evaluations", "score", "score > -1e308 AND score < 1e308"),
    )


def _make_singles() -> None:
    op.create_table(
        "controls",
        sa.Column("id", RowId, autoincrement=False, nullable=False),
        sa.Column("halted", sa.Boolean, nullable=False),
        sa.Column("halt_reason", sa.Text),
        sa.Column("halted_ms", sa.BigInteger),
        sa.Column("mode", sa.Text),
        _pk("controls", "id"),
        _ck("controls", "single", "id = 1"),
    )
    op.create_table(
        "rails",
        sa.Column("id", RowId, autoincrement=False, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _pk("rails", "id"),
        _ck("rails", "single", "id = 1"),
    )


def _make_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
        _pk("leases", "key"),
        _ck("leases", "expires_s", "expires_s > -1e308 AND expires_s < 1e308"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        _pk("counters", "name"),
    )

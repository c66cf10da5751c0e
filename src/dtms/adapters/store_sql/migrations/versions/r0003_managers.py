"""Give the registry, managed positions, plans and the changes of processes that keep no log their tables.

Nothing is changed or taken away: a program of revision 0002 goes on working with the store.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def upgrade() -> None:
    _make_ownership()
    _make_managed()
    _make_plans()
    op.create_table(
        "pending_changes",
        sa.Column("number", RowId, autoincrement=False, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _pk("pending_changes", "number"),
    )


def _make_ownership() -> None:
    op.create_table(
        "ownership",
        sa.Column("ticket", RowId, autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("mode", sa.Text),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        _pk("ownership", "ticket"),
    )
    op.create_index("ix_ownership_closed_ms", "ownership", ["closed_ms"])


def _make_managed() -> None:
    op.create_table(
        "managed",
        sa.Column("manager", sa.Text, nullable=False),
        sa.Column("ticket", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        _pk("managed", "manager", "ticket"),
    )
    op.create_index("ix_managed_ticket", "managed", ["ticket"])
    op.create_index("ix_managed_closed_ms", "managed", ["closed_ms"])


def _make_plans() -> None:
    op.create_table(
        "plans",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("status_ms", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        _pk("plans", "id"),
    )
    op.create_index("ix_plans_status", "plans", ["status", "created_ms"])
    op.create_index("ix_plans_created_ms", "plans", ["created_ms"])

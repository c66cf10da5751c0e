"""What the tables share: the names of constraints, keys, and checks that keep NaN and infinity out."""

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, MetaData, text

METADATA = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(column_0_N_label)s",
    }
)

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A whole-number key; spelt INTEGER, SQLite needs no second index for it."""

HUGE = "1e308"


def price(column: str) -> CheckConstraint:
    """Require a positive finite number; absent is NULL, never 0."""
    return CheckConstraint(f"{column} > 0 AND {column} < {HUGE}", name=column)


def finite(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} > -{HUGE} AND {column} < {HUGE}", name=column)


def volume(column: str) -> CheckConstraint:
    """Require digits: every spelling of NaN and infinity has an N."""
    return CheckConstraint(f"length({column}) BETWEEN 1 AND 40 AND lower({column}) NOT LIKE '%n%'", name=column)


def unhashed(table: str, key: str) -> Index:
    """Find the rows that still need a hash without looking at all of them."""
    where = text("hash IS NULL")
    return Index(f"ix_{table}_unhashed", key, sqlite_where=where, postgresql_where=where)

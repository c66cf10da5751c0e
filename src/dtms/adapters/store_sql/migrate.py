"""Bring a database to this program's schema; refuse one that this program cannot work with.

Two tables hold revisions. ``dtms_revision`` says what was applied. ``dtms_schema`` says what a program must know at
least to work with the store: a migration that only expands leaves it, so that the version before goes on working. They
have names of their own because an earlier system's tables may be in the same file.
"""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from dtms.domain.errors import Misconfigured, StoreFailed

VERSION_TABLE = "dtms_revision"
NEEDED_TABLE = "dtms_schema"
NEEDED = "0001"
"""The oldest revision whose program can read and write what this one writes."""

_FOLDER = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Apply what is missing, in one transaction under the write lock, so that two starts at once do it once.

    Raises:
        Misconfigured: when the database needs a revision that this program does not know.
    """
    config = _config()
    with engine.begin() as connection:
        if _is_current(connection, _scripts()):
            return
        _split_revisions(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _set_needed(connection)


def require_current(engine: Engine) -> None:
    """See that the database is still one that this program works with.

    Raises:
        StoreFailed: when it is at another revision, or empty.
    """
    with engine.begin() as connection:
        needed = _stored(connection, NEEDED_TABLE)
        has_revision = bool(_stored(connection, VERSION_TABLE))
    if not needed or not has_revision or needed - _known(_scripts()):
        raise StoreFailed(f"the store is not the one that was opened: its schema is {needed or 'none'}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


@cache
def _scripts() -> ScriptDirectory:
    """Read the revisions that this program has."""
    return ScriptDirectory.from_config(_config())


def _known(scripts: ScriptDirectory) -> set[str]:
    return {script.revision for script in scripts.walk_revisions()}


def _is_current(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Answer whether there is nothing to apply: it is at the newest revision, or at a newer one that only expanded."""
    known = _known(scripts)
    unknown = _stored(connection, NEEDED_TABLE) - known
    if unknown:
        raise Misconfigured(
            f"the store has schema {', '.join(sorted(unknown))}, newer than this program's"
            f" {scripts.get_current_head()}: start the newer version"
        )
    revision = _stored(connection, VERSION_TABLE)
    return revision == set(scripts.get_heads()) or bool(revision - known)


def _split_revisions(connection: Connection) -> None:
    """Note what is applied apart from what is needed, where both were one."""
    applied = _stored(connection, NEEDED_TABLE)
    for table in (VERSION_TABLE, NEEDED_TABLE):
        connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {table} (version_num VARCHAR(32) NOT NULL,"
                f" CONSTRAINT {table}_pkc PRIMARY KEY (version_num))"
            )
        )
    if applied and not _stored(connection, VERSION_TABLE):
        connection.execute(text(f"INSERT INTO {VERSION_TABLE} SELECT version_num FROM {NEEDED_TABLE}"))


def _set_needed(connection: Connection) -> None:
    connection.execute(text(f"DELETE FROM {NEEDED_TABLE}"))
    connection.execute(text(f"INSERT INTO {NEEDED_TABLE} VALUES (:needed)"), {"needed": NEEDED})


def _stored(connection: Connection, table: str) -> set[str]:
    """Read the revisions in a table; none when it is empty or missing."""
    context = MigrationContext.configure(connection, opts={"version_table": table})
    return set(context.get_current_heads())

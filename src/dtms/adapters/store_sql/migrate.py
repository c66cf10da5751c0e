"""Bring a database to this program's schema; refuse one that is ahead of it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from dtms.domain.errors import Misconfigured, StoreFailed

VERSION_TABLE = "dtms_schema"
"""A name of its own: an earlier system's tables may be in the same file."""

_FOLDER = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Apply what is missing, in one transaction under the write lock, so that two starts at once do it once.

    Raises:
        Misconfigured: when the database has a revision that this program does not know.
    """
    config = _config()
    with engine.begin() as connection:
        if _is_current(connection, ScriptDirectory.from_config(config)):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """See that the database is still the one that was migrated.

    Raises:
        StoreFailed: when it is at another revision, or empty.
    """
    with engine.begin() as connection:
        stored = _stored(connection)
    if stored != set(ScriptDirectory.from_config(_config()).get_heads()):
        raise StoreFailed(f"the store is not the one that was opened: its schema is {stored or 'none'}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _is_current(connection: Connection, known: ScriptDirectory) -> bool:
    stored = _stored(connection)
    unknown = stored - {script.revision for script in known.walk_revisions()}
    if unknown:
        raise Misconfigured(
            f"the store has schema {', '.join(sorted(unknown))}, newer than this program's"
            f" {known.get_current_head()}: start the newer version"
        )
    return stored == set(known.get_heads())


def _stored(connection: Connection) -> set[str]:
    """Read the revisions that the database is at; none when it is empty."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return set(context.get_current_heads())

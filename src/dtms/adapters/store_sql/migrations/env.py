"""Run by Alembic alone: migrate the connection it was handed, inside the transaction that is open on it."""

from alembic import context

from dtms.adapters.store_sql.migrate import VERSION_TABLE
from dtms.adapters.store_sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

"""Run by alembic for `service/database/migrate.py`, which passes a connection in a transaction."""

from __future__ import annotations

from alembic import context

from service.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite supports it as well, if nothing commits in between
    transaction_per_migration=False,
)
context.run_migrations()

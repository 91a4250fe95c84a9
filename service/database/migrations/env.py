"""Run by alembic, only ever through `service/database/migrate.py`, which hands it a connection in a transaction."""

from __future__ import annotations

from alembic import context

from service.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite has it as well, where nobody commits in between
    transaction_per_migration=False,
)
context.run_migrations()

"""Which releases can use the tables: a server that does not know the last migration reads it here, see `migrate.py`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
oldest_compatible = "0005"


def upgrade() -> None:
    """`migrate.py` writes the one row. Jobs say which release wrote them."""
    op.add_column("jobs", sa.Column("zoo_version", sa.String(length=32), nullable=True))
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest_compatible", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
    )

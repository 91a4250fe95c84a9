"""The owners of versions, which outlive the jobs that made them. A server of the release before works on beside this table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """No job was deleted yet as far as this table knows."""
    op.create_table(
        "version_owners",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_version_owners")),
    )

"""A revision of each model's names, so that of two servers that change them at once one finds out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Names that are there already have the first revision."""
    op.add_column("traffic", sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))

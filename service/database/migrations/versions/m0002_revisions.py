"""A revision of each model's aliases: of two servers that change them at once, one detects the conflict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Existing aliases get revision 1."""
    op.add_column("traffic", sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))

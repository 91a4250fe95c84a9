"""The migrations of the tables, which alembic reads from this folder."""

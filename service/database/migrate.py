"""Brings the tables of a database up to date, also when several servers try at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from service.database.errors import DatabaseError

LOCK = 0x7A6F6F  # "zoo": Zoo's own number among PostgreSQL's advisory locks


def upgrade(engine: Engine) -> None:
    """Runs the missing migrations, all or none. Raises DatabaseError for tables of a newer Zoo.

    One server at a time migrates: the others wait for the lock, and then find nothing to do.
    """
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # On SQLite, `BEGIN IMMEDIATE` is the lock.
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if (current := revision(connection)) is not None and current not in known:
            raise DatabaseError(
                f"the database was written by a newer Zoo (its tables are at {current!r}); install that one again"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def newest() -> tuple[str, frozenset[str]]:
    """The latest migration, and all migrations that this Zoo knows."""
    scripts = ScriptDirectory.from_config(_config())
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())


def revision(connection: Connection) -> str | None:
    """The migration of a database's tables; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

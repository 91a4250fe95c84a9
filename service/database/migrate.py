"""Brings the tables of a database up to date, also when several servers try at once.

During a rolling upgrade the server of the new release migrates, and those of the release before work on, and may start again
after a rollback. So a migration only adds: tables, and columns that may be NULL or have a default of the database. A later
release removes what is no longer used. Each script states as `oldest_compatible` the oldest migration whose servers can use the
tables that it leaves; the value of the last one is stored in the database, for servers that do not know its script.
"""

from __future__ import annotations

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, delete, insert, inspect, select, text

from service.database.errors import DatabaseError
from service.database.tables import metadata, schema_compatibility
from service.observability.log import logger

log = logger(__name__)

REVISION = re.compile(r"[0-9]{4}")
"""The whole name of a migration."""
LOCK = 0x7A6F6F  # "zoo": Zoo's own number among PostgreSQL's advisory locks


def upgrade(engine: Engine) -> None:
    """Runs the missing migrations, all or none. Raises DatabaseError for tables of a newer Zoo that this one cannot use.

    One server at a time migrates: the others wait for the lock, and then find nothing to do.
    """
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # On SQLite, `BEGIN IMMEDIATE` is the lock.
        scripts = ScriptDirectory.from_config(config)
        current = revision(connection)
        if current is not None and not REVISION.fullmatch(current):
            raise DatabaseError("the database does not say which version its tables have; `zoo doctor` says more")
        if current is not None and current not in _known(scripts):
            if not usable_by_this(connection):
                raise DatabaseError(
                    f"the database was written by a newer Zoo (its tables are at {current!r}); install that one again"
                )
            log.info("the tables are those of a newer Zoo, which this one can use", tables=current)
            return
        head = str(scripts.get_current_head())
        if current == head:
            return
        config.attributes["connection"] = connection
        command.upgrade(config, head)
        connection.execute(delete(schema_compatibility))
        oldest = scripts.get_revision(head).module.oldest_compatible
        connection.execute(insert(schema_compatibility).values(id=1, oldest_compatible=oldest))


def newest() -> tuple[str, frozenset[str]]:
    """The latest migration, and all migrations that this Zoo knows."""
    scripts = ScriptDirectory.from_config(_config())
    return str(scripts.get_current_head()), _known(scripts)


def usable_by_this(connection: Connection) -> bool:
    """Whether this Zoo can use the tables of a newer one, as that one states."""
    inspected = inspect(connection)
    if not all(
        inspected.has_table(table.name)
        and {column.name for column in table.columns} <= {str(c["name"]) for c in inspected.get_columns(table.name)}
        for table in metadata.tables.values()
    ):
        return False
    kept = schema_compatibility.c
    oldest = connection.execute(select(kept.oldest_compatible).where(kept.id == 1)).scalar()
    return oldest in newest()[1]


def revision(connection: Connection) -> str | None:
    """The migration of a database's tables; None for an empty database, "" where it cannot be told."""
    try:
        found = MigrationContext.configure(connection).get_current_revision()
    except CommandError:  # several rows
        return ""
    return found if found is None or isinstance(found, str) else ""


def _known(scripts: ScriptDirectory) -> frozenset[str]:
    return frozenset(script.revision for script in scripts.walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

"""Checks of the database: schema, integrity and every row. The database is opened read-only."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, select

from model_zoo.release import is_newer
from service.database import DatabaseError, database_url
from service.database.engine import decode_text, redacted
from service.database.migrate import REVISION, newest, revision, usable_by_this
from service.database.tables import aliases, checkpoints, events, jobs, traffic
from service.doctor.findings import Report
from service.jobs.persistence.row_mapping import (
    NEWER,
    checkpoint_of,
    event_of,
    is_damaged,
    job_of,
)
from service.jobs.types import JobState

SAME_TABLES_SINCE = "0005"
"""The first migration with all the tables that are checked; the later ones add others."""
MOST_FAULTS = 10
"""Faults of SQLite's own check that are reported."""


class Tables:
    """An open database."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def close(self) -> None:
        """Closes its connections."""
        self.engine.dispose()


def open_tables(given: str, home: Path, report: Report) -> Tables | None:
    """The database of a setting; None, with a finding, if it cannot be read or does not exist yet."""
    try:
        url = database_url(given, home)
    except DatabaseError as error:
        report.damage("database", "ZOO_DATABASE_URL", str(error))
        return None
    path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if path is not None and not path.exists():
        report.note("database", path.name, "does not exist yet; a server creates it", path)
        return None
    if path is not None and not _check_sqlite(path, report):
        return None
    if path is not None and path.stat().st_mode & stat.S_IROTH:
        report.note("database", path.name, "every user of this machine may read it; `chmod 0600` changes this", path)
    engine = _engine(url, path)
    name = path.name if path is not None else redacted(url)
    try:
        with engine.connect() as connection:
            if _check_schema(connection, name, report):
                return Tables(engine, name)
    except (exc.SQLAlchemyError, sqlite3.Error):
        report.damage("database", name, "does not answer, or cannot be read", path)
    engine.dispose()
    return None


def _check_sqlite(path: Path, report: Report) -> bool:
    """Runs SQLite's own check of the file. False if the file cannot be read; a file with faults may still be read."""
    report.count("database")
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True, timeout=10)) as connection:
            connection.text_factory = decode_text
            faults = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MOST_FAULTS})")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error:
        report.damage("database", path.name, "is no SQLite database, or cannot be read", path)
        return False
    for fault in faults if faults != ["ok"] else []:
        report.damage("database", path.name, f"SQLite's check says: {fault.splitlines()[0][:200]}", path)
    if orphans:
        report.damage("database", path.name, f"{len(orphans)} rows belong to jobs that do not exist", path)
    return True


def _read_only(path: Path) -> str:
    """The URI of a file, read-only. Without a log no process has the file open, so it is opened as immutable: otherwise SQLite
    would leave files beside it."""
    log = path.with_name(f"{path.name}-wal")
    is_closed = not log.exists() or not log.stat().st_size
    return f"file:{quote(str(path))}?mode=ro{'&immutable=1' if is_closed else ''}"


def _engine(url: URL, path: Path | None) -> Engine:
    if path is None:
        return create_engine(url, hide_parameters=True, connect_args={"connect_timeout": 10})
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(_read_only(path), uri=True, timeout=10))

    @event.listens_for(engine, "connect")
    def _tolerate_bad_text(connection: sqlite3.Connection, _: object) -> None:
        connection.text_factory = decode_text

    return engine


def _check_schema(connection: Connection, name: str, report: Report) -> bool:
    current, head, known = revision(connection), *newest()
    if current is None:
        if inspect(connection).get_table_names():
            report.damage("database", name, "does not say which version its tables have")
        else:
            report.note("database", name, "is empty; the next start of a server creates its tables")
        return False
    if not isinstance(current, str) or not REVISION.fullmatch(current):
        report.damage("database", name, "does not say which version its tables have")
        return False
    if current not in known and usable_by_this(connection):
        report.note("database", name, f"its tables are those of a newer Zoo ({current!r}), which this one can use")
        return True
    if current not in known:
        report.damage("database", name, f"was written by a newer Zoo (its tables are at {current!r})")
        return False
    if current != head:
        report.note(
            "database", name, f"its tables are at {current!r}; the next start of a server brings them to {head!r}"
        )
        return current >= SAME_TABLES_SINCE
    return True


def check_job_rows(tables: Tables, report: Report) -> frozenset[str]:
    """Checks every job, event and checkpoint, and gives the ids of the jobs."""
    known: set[str] = set()
    newer: set[str] = set()  # jobs of a newer release, which may have events that this one does not know
    with tables.engine.connect() as connection:
        for row in connection.execute(select(jobs)):
            job = job_of(row)
            known.add(job.id)
            report.count("job")
            if is_newer(row.zoo_version):
                newer.add(row.id)
            if job.newer:
                if row.state == JobState.QUEUED:
                    report.note("job", job.id, NEWER)
            elif job.damaged:
                report.damage("job", job.id, job.damaged, rows=(row.id,))
        for row in connection.execute(select(events).order_by(events.c.job_id, events.c.sequence)):
            report.count("event")
            if is_damaged(event_of(row)) and row.job_id not in newer:
                name = f"{row.sequence} of job {row.job_id}"
                report.damage("event", name, "what happened cannot be read", rows=(row.job_id, row.sequence))
        for row in connection.execute(select(checkpoints)):
            report.count("checkpoint row")
            if damaged := checkpoint_of(row).damaged:
                report.damage("checkpoint", f"{row.job_id} step {row.step}", damaged, rows=(row.job_id, row.step))
    return frozenset(known)


def check_aliases(tables: Tables, report: Report, on_disk: Collection[tuple[str, int]]) -> None:
    """Checks every alias. `on_disk`: the versions on disk, damaged ones included."""
    with tables.engine.connect() as connection:
        for row in connection.execute(select(aliases)):
            report.count("alias")
            name = f"{row.alias} of {row.model}"
            if not isinstance(row.version, int) or row.version < 1:
                report.damage("alias", name, "the version that it names cannot be read", rows=(row.model, row.alias))
            elif (row.model, row.version) not in on_disk:
                reason = f"it names version {row.version}, which does not exist"
                report.damage("alias", name, reason, rows=(row.model, row.alias))
        for row in connection.execute(select(traffic)):
            share, at = row.canary_share, row.revision
            if not isinstance(at, int) or at < 0 or not isinstance(share, int | float) or not 0 <= share <= 1:
                report.note(
                    "alias", f"aliases of {row.model}", "their row is damaged; the next change of an alias repairs it"
                )


def lease_holders(tables: Tables, now: float) -> list[str]:
    """Servers that run a job now, on any machine."""
    query = select(jobs.c.lease_owner).where(jobs.c.lease_until > now).distinct()
    with tables.engine.connect() as connection:
        return [str(name) for name in connection.execute(query).scalars() if name]

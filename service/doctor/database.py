"""The database: its schema, its integrity, and every row. It is opened for reading alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, select

from service.database import DatabaseError, database_url
from service.database.engine import decode_text, redacted
from service.database.migrate import newest, revision
from service.database.tables import aliases, checkpoints, events, jobs, traffic
from service.doctor.findings import Report
from service.jobs.persistence.row_mapping import (
    checkpoint_of,
    event_of,
    is_damaged,
    job_of,
)

MOST_FAULTS = 10
"""Of SQLite's own check, that are shown."""


class Tables:
    """An open database, for one checkup."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def close(self) -> None:
        """Lets it go."""
        self.engine.dispose()


def open_tables(given: str, home: Path, report: Report) -> Tables | None:
    """The database of a setting; None, with a finding, where it cannot be read, or is not there yet."""
    try:
        url = database_url(given, home)
    except DatabaseError as error:
        report.damage("database", "ZOO_DATABASE_URL", str(error))
        return None
    path = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if path is not None and not path.exists():
        report.note("database", path.name, "is not there yet; a server makes it", path)
        return None
    if path is not None and not _sound_sqlite(path, report):
        return None
    engine = _engine(url, path)
    name = path.name if path is not None else redacted(url)
    try:
        with engine.connect() as connection:
            if _known_schema(connection, name, report):
                return Tables(engine, name)
    except (exc.SQLAlchemyError, sqlite3.Error):
        report.damage("database", name, "does not answer, or cannot be read", path)
    engine.dispose()
    return None


def _sound_sqlite(path: Path, report: Report) -> bool:
    """SQLite's own check of the file. A file that has faults may still be read."""
    report.count("database")
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True, timeout=10)) as connection:
            connection.text_factory = decode_text
            faults = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MOST_FAULTS})")]
            lost = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error:
        report.damage("database", path.name, "is no SQLite database, or cannot be read", path)
        return False
    for fault in faults if faults != ["ok"] else []:
        report.damage("database", path.name, f"SQLite's check says: {fault.splitlines()[0][:200]}", path)
    if lost:
        report.damage("database", path.name, f"{len(lost)} rows belong to jobs that are not there", path)
    return True


def _read_only(path: Path) -> str:
    """A database that nobody has open is read without its log: SQLite would leave files of its own beside it."""
    log = path.with_name(f"{path.name}-wal")
    alone = not log.exists() or not log.stat().st_size
    return f"file:{quote(str(path))}?mode=ro{'&immutable=1' if alone else ''}"


def _engine(url: URL, path: Path | None) -> Engine:
    if path is None:
        return create_engine(url, hide_parameters=True, connect_args={"connect_timeout": 10})
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(_read_only(path), uri=True, timeout=10))

    @event.listens_for(engine, "connect")
    def _forgiving(connection: sqlite3.Connection, _: object) -> None:
        connection.text_factory = decode_text

    return engine


def _known_schema(connection: Connection, name: str, report: Report) -> bool:
    at, head, known = revision(connection), *newest()
    if at is None:
        if inspect(connection).get_table_names():
            report.damage("database", name, "does not say which version its tables have")
        else:
            report.note("database", name, "is empty; the next start of a server makes its tables")
        return False
    if at not in known:
        report.damage("database", name, f"was written by a newer Zoo (its tables are at {at!r})")
        return False
    if at != head:
        report.note("database", name, f"its tables are at {at!r}; the next start of a server brings them to {head!r}")
        return at == "0002"
    return True


def check_job_rows(tables: Tables, report: Report) -> frozenset[str]:
    """Every job, event and checkpoint; gives the ids of the jobs."""
    known: set[str] = set()
    with tables.engine.connect() as connection:
        for row in connection.execute(select(jobs)):
            job = job_of(row)
            known.add(job.id)
            report.count("job")
            if job.damaged:
                report.damage("job", job.id, job.damaged, rows=(row.id,))
        for row in connection.execute(select(events).order_by(events.c.job_id, events.c.sequence)):
            report.count("event")
            if is_damaged(event_of(row)):
                name = f"{row.sequence} of job {row.job_id}"
                report.damage("event", name, "what happened cannot be read", rows=(row.job_id, row.sequence))
        for row in connection.execute(select(checkpoints)):
            report.count("checkpoint row")
            if damaged := checkpoint_of(row).damaged:
                report.damage("checkpoint", f"{row.job_id} step {row.step}", damaged, rows=(row.job_id, row.step))
    return frozenset(known)


def check_aliases(tables: Tables, report: Report, there: Collection[tuple[str, int]]) -> None:
    """Every alias; `there`: the versions that are on disk, whole or damaged."""
    with tables.engine.connect() as connection:
        for row in connection.execute(select(aliases)):
            report.count("alias")
            name = f"{row.alias} of {row.model}"
            if not isinstance(row.version, int) or row.version < 1:
                report.damage("alias", name, "the version that it names cannot be read", rows=(row.model, row.alias))
            elif (row.model, row.version) not in there:
                reason = f"it names version {row.version}, which is not there"
                report.damage("alias", name, reason, rows=(row.model, row.alias))
        for row in connection.execute(select(traffic)):
            share, at = row.canary_share, row.revision
            if not isinstance(at, int) or at < 0 or not isinstance(share, int | float) or not 0 <= share <= 1:
                report.note("alias", f"names of {row.model}", "their row is damaged; the next change of one mends it")


def lease_holders(tables: Tables, now: float) -> list[str]:
    """Servers that work on a job at this moment, wherever they run."""
    query = select(jobs.c.lease_owner).where(jobs.c.lease_until > now).distinct()
    with tables.engine.connect() as connection:
        return [str(name) for name in connection.execute(query).scalars() if name]

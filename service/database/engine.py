"""Access to the database: short functions over a connection, run in a small pool of threads, one transaction each.

    jobs = await database.read(lambda connection: connection.execute(select(tables.jobs)).all())

`write` commits when the function returns and rolls back when it raises. On SQLite it takes the write lock at once: SQLite
refuses a write in a transaction that began with a read, whatever the busy timeout is. The functions wait for nothing but the
database; the event loop never waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from service.database.errors import DatabaseError, DatabaseFull, DatabaseUnavailable

T = TypeVar("T")

THREADS = 4
BUSY_TIMEOUT_MS = 10_000
"""How long SQLite waits for the write of another process."""
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_MS = 30_000
"""PostgreSQL cancels a statement after this time; the statements of Zoo take milliseconds."""
DISK_FULL_SIGNS = ("53100", "disk is full", "No space left")
"""PostgreSQL's code of a full disk, and parts of SQLite's messages."""

DAMAGED_SIGNS = ("malformed", "not a database", "corrupt")
"""Parts of SQLite's messages about a damaged file."""
INSUFFICIENT_PRIVILEGE = "42501"
"""Of PostgreSQL."""


def database_url(given: str, home: Path) -> URL:
    """The URL in a setting; an empty setting means `zoo.db` in `home`. Raises DatabaseError for a URL that Zoo cannot use."""
    if not given:
        return URL.create("sqlite", database=str(home / "zoo.db"))
    try:
        url = make_url(given)
    except exc.ArgumentError:
        raise DatabaseError(
            "the database's URL cannot be read; expected postgresql://user@host/name or sqlite:///path"
        ) from None
    backend = url.get_backend_name()
    if (
        backend == "sqlite"
        and url.drivername in ("sqlite", "sqlite+pysqlite")
        and url.database not in (None, "", ":memory:")
    ):
        return url
    if backend == "postgresql" and url.drivername in ("postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise DatabaseError(f"the database is {redacted(url)}: expected postgresql://user@host/name or sqlite:///path")


def redacted(url: URL) -> str:
    """A URL without its password and its query, which may hold secrets."""
    return url.set(query={}).render_as_string(hide_password=True)


class Database:
    """An engine and its threads. Construct, `await open()`, use, `close()`."""

    def __init__(self, url: URL) -> None:
        self._name = redacted(url)
        self.engine = _engine(url)
        self._write_engine = self.engine.execution_options(zoo_writes=True)
        self._read_engine = self.engine
        if url.get_backend_name() == "postgresql":  # by default each statement sees another state; SQLite's see one
            self._read_engine = self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._threads = ThreadPoolExecutor(THREADS, "database")

    @property
    def name(self) -> str:
        """The URL without secrets."""
        return self._name

    async def open(self) -> None:
        """Brings the tables up to date. Raises DatabaseError, with one sentence, if the database cannot be reached or used."""
        from service.database.migrate import upgrade  # alembic takes a while to import

        try:
            await self._run(partial(upgrade, self._write_engine))
        except exc.ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
                raise
            raise DatabaseError(f"the database {self._name} does not let Zoo make its tables") from error

    async def read(self, query: Callable[[Connection], T]) -> T:
        """The result of `query`, in a transaction that sees one state and writes nothing. Raises DatabaseUnavailable."""
        return await self._run(partial(_transaction, self._read_engine, query))

    async def write(self, change: Callable[[Connection], T]) -> T:
        """The result of `change`, committed. Raises DatabaseUnavailable; IntegrityError where a constraint is violated.

        A change is finished even if its caller is cancelled.
        """
        return await self._run(partial(_transaction, self._write_engine, change))

    def close(self) -> None:
        """Waits for writes that run, and closes every connection. Blocks: not for the event loop."""
        self._threads.shutdown(wait=True)
        self.engine.dispose()

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
            raise  # a violated constraint, or a mistake of the caller
        except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError) as error:
            raise self._translate(error) from error

    def _translate(self, error: exc.SQLAlchemyError) -> DatabaseError:
        """The error as one sentence for an operator."""
        cause: Any = getattr(error, "orig", None)
        code = getattr(cause, "sqlstate", None) or ""
        message = f"{code} {cause}"
        if any(sign in message for sign in DISK_FULL_SIGNS):
            return DatabaseFull(f"the disk of the database {self._name} is full")
        if isinstance(cause, sqlite3.OperationalError) and "unable to open" in message:
            return DatabaseUnavailable(
                f"the database {self._name} cannot be opened; is its folder there, and writable?"
            )
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return DatabaseFull(f"the disk of the database {self._name} is full")
        if isinstance(cause, sqlite3.DatabaseError) and any(sign in message for sign in DAMAGED_SIGNS):
            return DatabaseUnavailable(
                f"the database {self._name} cannot be used: it is damaged ({cause}); `zoo doctor` says more"
            )
        if isinstance(cause, sqlite3.Error):
            return DatabaseUnavailable(f"the database {self._name} cannot be used: {cause}")
        return DatabaseUnavailable(f"the database {self._name} does not answer, or does not let Zoo in")


def _transaction(engine: Engine, call: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return call(connection)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url,
            pool_size=THREADS,
            max_overflow=0,
            pool_pre_ping=True,  # replaces a connection that the server has closed
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            }
            | dict(url.query),
        )
    if url.database:
        with suppress(OSError):  # `open` reports that the file cannot be opened
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            # For this user alone: it has names and digests. SQLite gives its log the same permissions.
            os.close(os.open(url.database, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, pool_size=THREADS, max_overflow=0, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` sends BEGIN
    # By default, one damaged text makes its whole table unreadable.
    connection.text_factory = decode_text
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")  # first: the next statement may already have to wait
    _use_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def decode_text(data: bytes) -> str:
    """A text of SQLite; bytes that are no UTF-8 are replaced."""
    return data.decode("utf-8", "replace")


def _use_write_ahead_log(cursor: Any) -> None:
    """With this log, readers do not wait for the writer. SQLite refuses the change at once, whatever its timeout, while another
    process opens the file, as servers do that start together."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # in a thread of the database


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("zoo_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

"""The one way to the database: short functions over a connection, run in a small pool of threads, one transaction each.

    jobs = await database.read(lambda connection: connection.execute(select(tables.jobs)).all())

`write` commits when the function returns and rolls back when it raises. On SQLite it takes the write lock at once: a
transaction that read first and wants to write later would be refused, whatever the busy timeout. The functions must not
wait for anything but the database; the event loop never does.
"""

from __future__ import annotations

import asyncio
import errno
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
"""How long SQLite waits for another process's write."""
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_MS = 30_000
"""After that PostgreSQL gives a statement up; ours take milliseconds."""
FULL = ("53100", "disk is full", "No space left")
"""PostgreSQL's code for a full disk; SQLite's words."""

DAMAGED = ("malformed", "not a database", "corrupt")
"""SQLite's words for a file that something has damaged."""
NOT_ALLOWED = "42501"
"""PostgreSQL's code for want of a privilege."""


def database_url(given: str, home: Path) -> URL:
    """The URL of a setting; an empty one means `zoo.db` in `home`. Raises DatabaseError for one that Zoo cannot use."""
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
    raise DatabaseError(f"the database is {shown(url)}: expected postgresql://user@host/name or sqlite:///path")


def shown(url: URL) -> str:
    """A URL without its secrets: those in the query are left out altogether."""
    return url.set(query={}).render_as_string(hide_password=True)


class Database:
    """An engine and its threads. Construct, `await open()`, use, `close()`."""

    def __init__(self, url: URL) -> None:
        self._shown = shown(url)
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(zoo_writes=True)
        self._reading = self.engine
        if url.get_backend_name() == "postgresql":  # else each statement would see another moment; SQLite's never do
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._threads = ThreadPoolExecutor(THREADS, "database")

    @property
    def name(self) -> str:
        """Its URL without secrets."""
        return self._shown

    async def open(self) -> None:
        """Brings the tables up to date. Raises DatabaseError with one sentence if it cannot be reached or used."""
        from service.database.migrate import upgrade  # alembic takes a while to import

        try:
            await self._run(partial(upgrade, self._writing))
        except exc.ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != NOT_ALLOWED:
                raise
            raise DatabaseError(f"the database {self._shown} does not let Zoo make its tables") from error

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What `query` gives, in a transaction that sees one moment and writes nothing. Raises DatabaseUnavailable."""
        return await self._run(partial(_within, self._reading, query))

    async def write(self, change: Callable[[Connection], T]) -> T:
        """What `change` gives, committed. Raises DatabaseUnavailable; IntegrityError where a constraint was broken.

        The thread finishes a change that its caller no longer waits for.
        """
        return await self._run(partial(_within, self._writing, change))

    def close(self) -> None:
        """Waits for what is being written and closes every connection. Not to be called from the event loop while busy."""
        self._threads.shutdown(wait=True)
        self.engine.dispose()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
            raise  # ours: a constraint that was broken, or a mistake
        except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError) as error:
            raise self._told(error) from error

    def _told(self, error: exc.SQLAlchemyError) -> DatabaseError:
        cause: Any = getattr(error, "orig", None)
        code = getattr(cause, "sqlstate", None) or ""
        words = f"{code} {cause}"
        if any(sign in words for sign in FULL):
            return DatabaseFull(f"the disk of the database {self._shown} is full")
        if isinstance(cause, sqlite3.OperationalError) and "unable to open" in words:
            return DatabaseUnavailable(
                f"the database {self._shown} cannot be opened; is its folder there, and writable?"
            )
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return DatabaseFull(f"the disk of the database {self._shown} is full")
        if isinstance(cause, sqlite3.DatabaseError) and any(sign in words for sign in DAMAGED):
            return DatabaseUnavailable(
                f"the database {self._shown} cannot be used: it is damaged ({cause}); `zoo doctor` says more"
            )
        if isinstance(cause, sqlite3.Error):
            return DatabaseUnavailable(f"the database {self._shown} cannot be used: {cause}")
        return DatabaseUnavailable(f"the database {self._shown} does not answer, or does not let Zoo in")


def _within(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url,
            pool_size=THREADS,
            max_overflow=0,
            pool_pre_ping=True,  # a connection that the server has closed is replaced, not handed out
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            }
            | dict(url.query),
        )
    if url.database:
        with suppress(OSError):  # then it cannot be opened either, which `open` says
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=THREADS, max_overflow=0, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    # A text that something has damaged must not make its whole table unreadable, as it does by itself.
    connection.text_factory = text_of
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")  # first: the next one may already have to wait
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # what was committed survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def text_of(data: bytes) -> str:
    """A text of SQLite's, also one that is none."""
    return data.decode("utf-8", "replace")


def _write_ahead(cursor: Any) -> None:
    """Readers never wait for the writer. SQLite refuses that move at once, whatever its timeout, while another process has the
    file open in the same moment, as servers that start together do."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)  # in a thread of the database's own


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("zoo_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

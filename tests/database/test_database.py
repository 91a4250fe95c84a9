"""What an operator relies on: both databases work alike, old ones are brought up to date, and no message shows a password."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text

from service.database import Database, DatabaseError, DatabaseFull, DatabaseUnavailable, database_url
from service.database.migrate import _config, revision
from service.database.tables import aliases, metadata, traffic
from tests.support.databases import opened
from tests.support.postgres import Postgres

ROW = {"model": "flowers", "alias": "stable", "version": 3, "updated": 1.5}


@pytest.mark.asyncio
async def test_what_is_written_is_there_for_the_next_process(url: str) -> None:
    first = opened(url)
    await first.open()
    await first.write(lambda c: c.execute(insert(aliases).values(ROW)))
    first.close()
    second = opened(url)
    await second.open()
    assert [row._asdict() for row in await second.read(lambda c: c.execute(select(aliases)).all())] == [ROW]
    second.close()


@pytest.mark.asyncio
async def test_the_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    database = opened(url)
    await database.open()
    assert await database.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []
    database.close()


@pytest.mark.asyncio
async def test_names_that_an_older_zoo_has_kept_have_their_first_revision(url: str) -> None:
    database = opened(url)
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO traffic (model, canary_share, updated) VALUES ('flowers', 0.5, 1.5)"))
    await database.open()
    rows = await database.read(lambda c: c.execute(select(traffic)).all())
    assert [row._asdict() for row in rows] == [{"model": "flowers", "canary_share": 0.5, "updated": 1.5, "revision": 1}]
    database.close()


@pytest.mark.asyncio
async def test_a_reader_sees_one_moment_whatever_others_write_meanwhile(url: str) -> None:
    one, other = opened(url), opened(url)
    await one.open()

    def twice(connection: object) -> tuple[int, int]:
        counted = select(aliases)
        first = len(connection.execute(counted).all())  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe(other.write(lambda c: c.execute(insert(aliases).values(ROW))), loop).result(30)
        return first, len(connection.execute(counted).all())  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    assert await one.read(twice) == (0, 0)
    assert len(await one.read(lambda c: c.execute(select(aliases)).all())) == 1
    one.close()
    other.close()


@pytest.mark.asyncio
async def test_a_change_that_fails_midway_leaves_nothing(url: str) -> None:
    database = opened(url)
    await database.open()

    def broken(connection: object) -> None:
        connection.execute(insert(aliases).values(ROW))  # type: ignore[attr-defined]
        raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        await database.write(broken)
    assert await database.read(lambda c: c.execute(select(aliases)).all()) == []
    database.close()


@pytest.mark.asyncio
async def test_many_writers_at_once_lose_nothing(url: str) -> None:
    """Read, then write what was read plus one: the pattern that SQLite refuses to those who begin as readers."""
    one, other = opened(url), opened(url)
    await one.open()
    await one.write(lambda c: c.execute(insert(aliases).values(ROW | {"version": 0})))

    def count(connection: object) -> None:
        version = connection.execute(select(aliases.c.version).with_for_update()).scalar_one()  # type: ignore[attr-defined]
        connection.execute(aliases.update().values(version=version + 1))  # type: ignore[attr-defined]

    await asyncio.gather(*(database.write(count) for database in (one, other) for _ in range(25)))
    assert await one.read(lambda c: c.execute(select(aliases.c.version)).scalar_one()) == 50
    one.close()
    other.close()


def _open(url: str, barrier: object, results: object) -> None:
    database = opened(url)
    barrier.wait()  # type: ignore[attr-defined]
    asyncio.run(database.open())
    results.put(asyncio.run(database.read(revision)))  # type: ignore[attr-defined]
    database.close()


def test_servers_that_start_at_once_make_the_tables_once(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(3), spawn.Queue()
    servers = [spawn.Process(target=_open, args=(url, barrier, results)) for _ in range(3)]
    for server in servers:
        server.start()
    seen = [results.get(timeout=60) for _ in servers]
    for server in servers:
        server.join()
    assert seen == ["0001"] * 3 or (len(set(seen)) == 1 and seen[0] >= "0001")
    assert all(server.exitcode == 0 for server in servers)


@pytest.mark.asyncio
async def test_the_database_of_a_newer_zoo_is_refused(url: str) -> None:
    database = opened(url)
    await database.open()
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(DatabaseError, match=r"newer Zoo.*'9999'"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_the_event_loop_never_waits(url: str) -> None:
    database = opened(url)
    await database.open()
    loop = threading.get_ident()
    assert await database.read(lambda c: threading.get_ident()) != loop
    database.close()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://zoo:sesame@host/db", r"mysql://zoo:\*\*\*@host/db: expected postgresql"),
        ("sqlite://", "expected postgresql"),
        ("postgresql+asyncpg://zoo:sesame@host/db?password=sesame", "expected postgresql"),
    ],
)
def test_a_url_that_cannot_be_is_refused_without_its_password(given: str, problem: str) -> None:
    with pytest.raises(DatabaseError, match=problem) as caught:
        database_url(given, Path("/home"))
    assert "sesame" not in str(caught.value)


def test_no_url_means_a_file_in_home(tmp_path: Path) -> None:
    assert database_url("", tmp_path).database == str(tmp_path / "zoo.db")


@pytest.mark.component
@pytest.mark.asyncio
async def test_a_wrong_password_is_told_without_showing_it(postgres: Postgres) -> None:
    database = opened(postgres.url(password="sesame closed"))
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.open()
    assert "does not let Zoo in" in str(caught.value)
    assert "sesame" not in str(caught.value)
    database.close()


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_told() -> None:
    database = Database(database_url("postgresql://zoo:sesame@127.0.0.1:1/zoo", Path("/home")))
    with pytest.raises(DatabaseUnavailable, match=r"127.0.0.1:1/zoo does not answer"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "zoo.db").write_text("Dear diary, " * 1000)
    database = opened("", tmp_path)
    with pytest.raises(DatabaseError, match="not a database"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_a_full_disk_is_told_as_such_and_passes(tmp_path: Path) -> None:
    """SQLite's own limit on pages stands for the disk: it gives the very error."""
    database = opened("", tmp_path)
    await database.open()

    def fill(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # type: ignore[attr-defined]  # the least: what is there
        for number in range(5000):
            connection.execute(insert(aliases).values(ROW | {"alias": f"a{number}"}))  # type: ignore[attr-defined]

    with pytest.raises(DatabaseFull, match="is full"):
        await database.write(fill)
    assert await database.read(lambda c: c.execute(select(aliases)).all()) == []
    database.close()


@pytest.mark.asyncio
async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    database = opened("", tmp_path)
    await database.open()
    other = sqlite3.connect(tmp_path / "zoo.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write(lambda c: c.execute(insert(aliases).values(ROW))))
    assert await database.read(lambda c: c.execute(select(aliases)).all()) == [], "readers do not wait"
    assert not writing.done()
    other.execute("COMMIT")
    await writing
    other.close()
    database.close()


@pytest.mark.component
@pytest.mark.asyncio
async def test_a_user_who_may_not_make_tables_is_told(postgres: Postgres) -> None:
    with postgres.fresh() as url:
        owner = opened(url)
        await owner.write(lambda c: c.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC")))
        await owner.write(lambda c: c.execute(text("CREATE ROLE guest LOGIN PASSWORD 'hidden'")))
        guest = opened(url.replace("zoo:open%20sesame", "guest:hidden"))
        try:
            with pytest.raises(DatabaseError, match="does not let Zoo make its tables") as caught:
                await guest.open()
            assert "hidden" not in str(caught.value)
        finally:
            guest.close()
            await owner.write(lambda c: c.execute(text("DROP ROLE guest")))
            owner.close()

"""Both databases work alike, errors are one sentence for an operator, and no message shows a password."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from service.database import Database, DatabaseError, DatabaseFull, DatabaseUnavailable, database_url
from service.database.tables import aliases
from tests.support.database.fixtures import opened
from tests.support.database.postgres import Postgres

ROW = {"model": "flowers", "alias": "stable", "version": 3, "updated": 1.5}


# ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_committed_row_is_read_by_the_next_process(url: str) -> None:
    first = opened(url)
    await first.open()
    await first.write(lambda c: c.execute(insert(aliases).values(ROW)))
    first.close()
    second = opened(url)
    await second.open()
    assert [row._asdict() for row in await second.read(lambda c: c.execute(select(aliases)).all())] == [ROW]
    second.close()


@pytest.mark.asyncio
async def test_read_sees_one_state_while_others_write(url: str) -> None:
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
async def test_write_that_raises_is_rolled_back(url: str) -> None:
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
async def test_concurrent_writers_lose_no_update(url: str) -> None:
    """Each reads a value and writes it plus one, which SQLite refuses in a transaction that began with a read."""
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


@pytest.mark.asyncio
async def test_query_runs_outside_the_event_loop(url: str) -> None:
    database = opened(url)
    await database.open()
    loop = threading.get_ident()
    assert await database.read(lambda c: threading.get_ident()) != loop
    database.close()


@pytest.mark.asyncio
async def test_write_waits_for_the_write_of_another_process(tmp_path: Path) -> None:
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


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://zoo:sesame@host/db", r"mysql://zoo:\*\*\*@host/db: expected postgresql"),
        ("sqlite://", "expected postgresql"),
        ("postgresql+asyncpg://zoo:sesame@host/db?password=sesame", "expected postgresql"),
    ],
)
def test_unusable_url_is_rejected_without_its_password(given: str, problem: str) -> None:
    with pytest.raises(DatabaseError, match=problem) as caught:
        database_url(given, Path("/home"))
    assert "sesame" not in str(caught.value)


def test_empty_url_is_a_file_in_home(tmp_path: Path) -> None:
    assert database_url("", tmp_path).database == str(tmp_path / "zoo.db")


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.component
@pytest.mark.asyncio
async def test_wrong_password_is_reported_without_the_password(postgres: Postgres) -> None:
    database = opened(postgres.url(password="sesame closed"))
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.open()
    assert "does not let Zoo in" in str(caught.value)
    assert "sesame" not in str(caught.value)
    database.close()


@pytest.mark.asyncio
async def test_unreachable_server_is_reported_as_unavailable() -> None:
    database = Database(database_url("postgresql://zoo:sesame@127.0.0.1:1/zoo", Path("/home")))
    with pytest.raises(DatabaseUnavailable, match=r"127.0.0.1:1/zoo does not answer"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "zoo.db").write_text("Dear diary, " * 1000)
    database = opened("", tmp_path)
    with pytest.raises(DatabaseError, match="not a database"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_full_disk_is_reported_and_later_reads_succeed(tmp_path: Path) -> None:
    """SQLite's limit on pages stands for the disk: it raises the same error."""
    database = opened("", tmp_path)
    await database.open()

    def fill(connection: object) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # type: ignore[attr-defined]  # as many as there are
        for number in range(5000):
            connection.execute(insert(aliases).values(ROW | {"alias": f"a{number}"}))  # type: ignore[attr-defined]

    with pytest.raises(DatabaseFull, match="is full"):
        await database.write(fill)
    assert await database.read(lambda c: c.execute(select(aliases)).all()) == []
    database.close()


@pytest.mark.asyncio
async def test_new_file_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path / 'zoo.db'}")
    await database.open()
    await database.write(lambda c: c.execute(insert(aliases).values(ROW)))
    modes = await asyncio.to_thread(permissions, tmp_path)
    database.close()
    assert "zoo.db" in modes
    assert set(modes.values()) == {0o600}, modes


def permissions(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}

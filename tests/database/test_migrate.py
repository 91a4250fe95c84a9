"""Tables of an older Zoo are brought up to date once, and those of a newer Zoo are rejected."""

from __future__ import annotations

import asyncio
import multiprocessing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from service.database import DatabaseError
from service.database.migrate import _config, revision
from service.database.tables import metadata, traffic
from tests.support.database.fixtures import opened
from tests.support.database.postgres import Postgres


@pytest.mark.asyncio
async def test_migrations_create_the_tables_of_the_code(url: str) -> None:
    database = opened(url)
    await database.open()
    assert await database.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []
    database.close()


@pytest.mark.asyncio
async def test_aliases_of_an_older_zoo_get_revision_1(url: str) -> None:
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


def _open(url: str, barrier: object, results: object) -> None:
    database = opened(url)
    barrier.wait()  # type: ignore[attr-defined]
    asyncio.run(database.open())
    results.put(asyncio.run(database.read(revision)))  # type: ignore[attr-defined]
    database.close()


def test_servers_that_start_at_once_create_the_tables_once(url: str) -> None:
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
async def test_database_of_a_newer_zoo_is_rejected(url: str) -> None:
    database = opened(url)
    await database.open()
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(DatabaseError, match=r"newer Zoo.*'9999'"):
        await database.open()
    database.close()


@pytest.mark.component
@pytest.mark.asyncio
async def test_user_without_the_right_to_create_tables_is_reported(postgres: Postgres) -> None:
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

"""Tables of an older Zoo are brought up to date once; those of a newer Zoo are used as they are where it says that this works."""

from __future__ import annotations

import asyncio
import multiprocessing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Inspector, delete, insert, inspect, select, text

from service.database import Database, DatabaseError
from service.database.migrate import _config, newest, revision
from service.database.tables import metadata, schema_compatibility, traffic
from tests.support.database.fixtures import opened
from tests.support.database.postgres import Postgres

COMPATIBLE = {
    script.revision: script.module.oldest_compatible
    for script in ScriptDirectory.from_config(_config()).walk_revisions()
    if script.revision >= "0005"
}
"""The migrations that say which releases can use their tables, with the oldest."""


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


async def of_newer_zoo(database: Database, oldest_compatible: str | None) -> None:
    """Lets the tables say that a newer Zoo has migrated them."""
    await database.open()
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await database.write(lambda c: c.execute(delete(schema_compatibility)))
    if oldest_compatible is not None:
        row = insert(schema_compatibility).values(id=1, oldest_compatible=oldest_compatible)
        await database.write(lambda c: c.execute(row))


@pytest.mark.asyncio
@pytest.mark.parametrize("oldest_compatible", ["9998", "", None])
async def test_database_that_only_a_newer_zoo_can_use_is_rejected(url: str, oldest_compatible: str | None) -> None:
    database = opened(url)
    await of_newer_zoo(database, oldest_compatible)
    with pytest.raises(DatabaseError, match=r"newer Zoo.*'9999'"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_database_of_a_newer_zoo_without_a_word_on_older_ones_is_rejected(url: str) -> None:
    database = opened(url)
    await of_newer_zoo(database, None)
    await database.write(lambda c: c.execute(text("DROP TABLE schema_compatibility")))
    with pytest.raises(DatabaseError, match=r"newer Zoo.*'9999'"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_database_of_a_newer_zoo_that_older_ones_can_use_is_used_as_it_is(url: str) -> None:
    database = opened(url)
    await of_newer_zoo(database, newest()[0])
    await database.open()
    assert await database.read(revision) == "9999"
    database.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "damage", ["UPDATE alembic_version SET version_num = ''", "INSERT INTO alembic_version VALUES ('0001')"]
)
async def test_database_that_does_not_say_its_revision_is_rejected(url: str, damage: str) -> None:
    database = opened(url)
    await database.open()
    await database.write(lambda c: c.execute(text(damage)))
    with pytest.raises(DatabaseError, match="does not say which version its tables have"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_database_of_a_newer_zoo_without_a_column_of_this_one_is_rejected(url: str) -> None:
    database = opened(url)
    await of_newer_zoo(database, newest()[0])
    await database.write(lambda c: c.execute(text("ALTER TABLE jobs DROP COLUMN zoo_version")))
    with pytest.raises(DatabaseError, match=r"newer Zoo.*'9999'"):
        await database.open()
    database.close()


@pytest.mark.asyncio
async def test_tables_say_which_older_releases_can_use_them(url: str) -> None:
    database = opened(url)
    await database.open()
    rows = await database.read(lambda c: c.execute(select(schema_compatibility)).all())
    assert [row._asdict() for row in rows] == [{"id": 1, "oldest_compatible": COMPATIBLE[newest()[0]]}]
    database.close()


def columns_of(inspected: Inspector) -> dict[tuple[str, str], tuple[str, bool, bool]]:
    """Of each column: its type, whether it may be NULL, whether it has a default."""
    return {
        (table, column["name"]): (str(column["type"]), column["nullable"], column["default"] is not None)
        for table in inspected.get_table_names()
        for column in inspected.get_columns(table)
    }


def rules_of(inspected: Inspector) -> set[tuple[str, str, str]]:
    """The rules that rows of a table must fulfil."""
    return {
        (table, kind, str(sorted(rule.get("column_names") or rule.get("constrained_columns") or [rule.get("sqltext")])))
        for table in inspected.get_table_names()
        for kind, rules in (
            ("key", [inspected.get_pk_constraint(table)]),
            ("unique", inspected.get_unique_constraints(table)),
            ("foreign key", inspected.get_foreign_keys(table)),
            ("check", inspected.get_check_constraints(table)),
        )
        for rule in rules
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("later", COMPATIBLE)
async def test_migrations_only_add_what_the_releases_that_they_name_can_do_without(url: str, later: str) -> None:
    database = opened(url)
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, COMPATIBLE[later])
        before = inspect(connection)
        columns, rules = columns_of(before), rules_of(before)
        command.upgrade(config, later)
        after = inspect(connection)
        assert columns.items() <= columns_of(after).items()
        tables = {table for table, _ in columns}
        assert {rule for rule in rules_of(after) if rule[0] in tables} == rules
        for (table, name), (_, may_be_null, has_default) in columns_of(after).items() - columns.items():
            assert table not in tables or may_be_null or has_default, (table, name)
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

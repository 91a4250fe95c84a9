"""Tokens in the database: only digests, revoked for ever, the same for every server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_store import TokenStore
from service.access.tokens import new_secret
from service.database import Database
from service.errors import InvalidInput, NotFound
from tests.support.database.fixtures import opened

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def stored(url: str, clock: Callable[[], float] = lambda: 1000.0) -> AsyncIterator[tuple[TokenStore, Database]]:
    database = opened(url)
    try:
        yield TokenStore(database, clock), database
    finally:
        database.close()


async def test_token_is_read_back_with_all_that_it_permits(tables_url: str) -> None:
    async with stored(tables_url) as (store, _):
        secret = new_secret()
        made = await store.add(
            secret,
            "ada",
            [Scope.INFER, Scope.FINETUNE],
            models=("cat*",),
            limits=Limits(requests_per_second=2.5, jobs=3),
            expires=2000.0,
            creator="admin",
        )
        revision, found = await store.all()
        assert found == [made]
        assert revision == (1, 0) == await store.revision()
        assert made.digest == secret.digest
        assert (made.created, made.revoked) == (1000.0, None)


async def test_database_holds_no_secret(sqlite_url: str) -> None:
    async with stored(sqlite_url) as (store, database):
        secret = new_secret()
        await store.add(secret, "ada", [Scope.INFER])
        rows = await database.read(lambda c: c.execute(text("SELECT * FROM tokens")).all())
        assert secret.text.rpartition("_")[2] not in str(rows)


async def test_token_that_two_servers_add_at_once_is_stored_once(tables_url: str) -> None:
    async with stored(tables_url) as (one, _), stored(tables_url) as (other, _):
        secret = new_secret()
        made = await asyncio.gather(*(store.add(secret, "admin", [Scope.ADMIN]) for store in (one, other, one, other)))
        assert {token.id for token in made} == {secret.id}
        assert await one.revision() == (1, 0)


async def test_added_again_after_its_revocation_a_token_stays_revoked(tables_url: str) -> None:
    async with stored(tables_url) as (store, _):
        secret = new_secret()
        await store.add(secret, "admin", [Scope.ADMIN])
        await store.revoke(secret.id)
        assert (await store.add(secret, "admin", [Scope.ADMIN])).revoked == 1000.0


async def test_second_revocation_keeps_the_time_of_the_first(tables_url: str) -> None:
    now = 1000.0
    async with stored(tables_url, lambda: now) as (store, _):
        secret = new_secret()
        await store.add(secret, "ada", [Scope.INFER])
        await store.revoke(secret.id)
        now = 2000.0
        assert (await store.revoke(secret.id)).revoked == 1000.0
        assert await store.revision() == (1, 1)


@pytest.mark.parametrize("token_id", ["", "0", "x" * 1000, "' OR 1=1 --"])
async def test_revocation_of_an_unknown_token_is_not_found(sqlite_url: str, token_id: str) -> None:
    async with stored(sqlite_url) as (store, _):
        with pytest.raises(NotFound):
            await store.revoke(token_id)


async def test_pages_list_every_token_once_newest_first(tables_url: str) -> None:
    now = iter(range(1000, 1007))
    async with stored(tables_url, lambda: float(min(next(now), 1003))) as (store, _):  # the last four at one moment
        made = [await store.add(new_secret(), "ada" if i % 2 else "bob", [Scope.INFER]) for i in range(7)]
        seen, after = [], ""
        while True:
            page = await store.list(2, after)
            seen += page.tokens
            if not (after := page.next):
                break
        assert sorted(token.id for token in seen) == sorted(token.id for token in made)
        assert [token.created for token in seen] == sorted((token.created for token in made), reverse=True)
        assert {token.principal for token in (await store.list(50, principal="bob")).tokens} == {"bob"}


async def test_page_after_something_else_is_refused(sqlite_url: str) -> None:
    async with stored(sqlite_url) as (store, _):
        with pytest.raises(InvalidInput, match="page_token"):
            await store.list(2, "x y")


async def test_what_a_newer_zoo_wrote_permits_nothing_new(sqlite_url: str) -> None:
    async with stored(sqlite_url) as (store, database):
        await store.add(new_secret(), "ada", [Scope.INFER])
        change = text("""UPDATE tokens SET scopes = '["infer", "fly"]', limits = '{"jobs": 2, "wings": 2}'""")
        await database.write(lambda c: c.execute(change))
        [token] = (await store.all())[1]
        assert token.scopes == {Scope.INFER}
        assert token.limits == Limits(jobs=2)

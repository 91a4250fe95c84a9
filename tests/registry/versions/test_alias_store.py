"""Aliases in the database equal those in memory after any changes and a restart."""

import asyncio
import random
import threading
from collections.abc import Iterator

import pytest

from service.database import Database
from service.errors import NotFound
from service.registry.versions import aliases as naming
from service.registry.versions.alias_store import AliasStore
from service.registry.versions.aliases import CANARY, STABLE, AliasSet
from service.registry.versions.revisioned_aliases import (
    NEVER_WRITTEN,
    AliasStorage,
    InMemoryAliases,
    RevisionedAliases,
    StaleRevisionError,
)
from tests.support.database.fixtures import opened

pytestmark = pytest.mark.asyncio


@pytest.fixture
def database(tables_url: str) -> Iterator[Database]:
    """SQLite, and PostgreSQL."""
    made = opened(tables_url)
    yield made
    made.close()


async def test_empty_alias_store_has_no_aliases(database: Database) -> None:
    assert await AliasStore(database).read() == {}


async def test_aliases_share_and_history_are_read_as_written(database: Database) -> None:
    store = AliasStore(database, clock=lambda: 5.0)
    names, revision = AliasSet(), NEVER_WRITTEN
    for change in (
        lambda n: naming.point_alias(n, STABLE, 1),
        lambda n: naming.point_alias(n, STABLE, 2),
        lambda n: naming.point_alias(n, "own", 1),
        lambda n: naming.split_traffic(n, 3, 0.25),
    ):
        names, moves = change(names)
        revision = await store.write("mood", names, moves, revision)
    await store.write("other", *naming.point_alias(AliasSet(), STABLE, 7), NEVER_WRITTEN)
    read = await AliasStore(database).read()
    assert read["mood"].aliases == AliasSet({STABLE: 2, "own": 1, CANARY: 3}, 0.25, "", (1,)) == names
    assert read["other"].aliases.targets == {STABLE: 7}
    assert await store.revisions() == {"mood": revision, "other": 1}
    assert set(await store.read(["other", "nobody"])) == {"other"}


async def test_rolled_back_reason_is_stored_until_the_next_trial(database: Database) -> None:
    store = AliasStore(database)
    names, moves = naming.point_alias(AliasSet(), STABLE, 1)
    await store.write("mood", names, moves, 0)
    names, moves = naming.split_traffic(names, 2, 0.5)
    await store.write("mood", names, moves, 1)
    names, moves = naming.stop_canary(names, "too slow")
    await store.write("mood", names, moves, 2)
    assert (await store.read())["mood"] == RevisionedAliases(names, 3)
    assert (names.canary, names.canary_share, names.rolled_back_reason) == (2, 0.0, "too slow")
    names, moves = naming.split_traffic(names, 2, 0.1)
    await store.write("mood", names, moves, 3)
    assert (await store.read())["mood"].aliases.rolled_back_reason == names.rolled_back_reason == ""


@pytest.mark.parametrize("seed", range(8))
async def test_alias_store_after_random_changes_equals_memory(database: Database, seed: int) -> None:
    draw, store, memory = random.Random(seed), AliasStore(database), InMemoryAliases()
    names, revision = AliasSet(), NEVER_WRITTEN
    for _ in range(40):
        number = draw.randint(1, 5)
        action = draw.choice(["point", "point", "canary", "split", "stop", "remove", "back", "forget"])
        if action == "point":
            names, moves = naming.point_alias(names, draw.choice([STABLE, "own"]), number)
        elif action == "canary":
            names, moves = naming.point_alias(names, CANARY, number)
        elif action == "split" and names.stable not in (None, number):
            names, moves = naming.split_traffic(names, number, draw.choice([0.125, 0.5, 1.0]))
        elif action == "stop" and names.canary_share:
            names, moves = naming.stop_canary(names, f"reason {number}")
        elif action == "remove" and CANARY in names.targets:
            names, moves = naming.remove_alias(names, CANARY)
        elif action == "back" and names.previous_stable:
            names, moves = naming.roll_back(names)
        elif action == "forget" and number not in names.targets.values():
            names, moves = naming.drop_version(names, number)
        else:
            continue
        revision = await store.write("mood", names, moves, revision)
        assert await memory.write("mood", names, moves, revision - 1) == revision
        assert (await store.read())["mood"] == (await memory.read())["mood"] == RevisionedAliases(names, revision)


@pytest.fixture(params=["memory", "database"])
def book(request: pytest.FixtureRequest, database: Database) -> AliasStorage:
    """Both storages have one contract."""
    return InMemoryAliases() if request.param == "memory" else AliasStore(database)


async def test_alias_write_with_stale_revision_is_rejected(book: AliasStorage) -> None:
    await book.write("mood", *naming.point_alias(AliasSet(), STABLE, 1), NEVER_WRITTEN)
    for outdated in (NEVER_WRITTEN, 2):
        with pytest.raises(StaleRevisionError):
            await book.write("mood", *naming.point_alias(AliasSet(), STABLE, 2), outdated)
    assert await book.read() == {"mood": RevisionedAliases(AliasSet({STABLE: 1}), 1)}
    with pytest.raises(StaleRevisionError):
        await book.write("never", *naming.point_alias(AliasSet(), STABLE, 2), 1)


async def test_alias_write_whose_locked_step_fails_writes_nothing(book: AliasStorage) -> None:
    await book.write("mood", *naming.point_alias(AliasSet(), STABLE, 1), NEVER_WRITTEN)

    def fail() -> None:
        raise NotFound("version", "2")

    with pytest.raises(NotFound):
        await book.write("mood", *naming.point_alias(AliasSet({STABLE: 1}), STABLE, 2), 1, fail)
    assert await book.read() == {"mood": RevisionedAliases(AliasSet({STABLE: 1}), 1)}


async def test_concurrent_alias_writers_each_see_the_previous_change(database: Database) -> None:
    """Two servers, each with connections of its own, add one to what an alias names: none is lost."""
    other = opened(database.engine.url.render_as_string(hide_password=False))
    stores = [AliasStore(database), AliasStore(other)]

    async def add_one(store: AliasStore) -> None:
        while True:
            stored = (await store.read(["mood"])).get("mood", RevisionedAliases(AliasSet()))
            number = stored.aliases.targets.get("own", 0) + 1
            try:
                await store.write("mood", *naming.point_alias(stored.aliases, "own", number), stored.revision)
                return
            except StaleRevisionError:
                continue

    await asyncio.gather(*(add_one(store) for store in stores for _ in range(10)))
    assert await stores[0].read() == {"mood": RevisionedAliases(AliasSet({"own": 20}), 20)}
    other.close()


async def test_alias_writer_waits_for_the_locked_step_of_another(database: Database) -> None:
    """The locked step of a change never runs beside another change of the same model."""
    other = opened(database.engine.url.render_as_string(hide_password=False))
    one, two = AliasStore(database), AliasStore(other)
    await one.write("mood", AliasSet({STABLE: 1}), (), NEVER_WRITTEN)
    entered, may_go, order = threading.Event(), threading.Event(), []

    def slowly() -> None:
        entered.set()
        assert may_go.wait(20)
        order.append("one")

    first = asyncio.create_task(one.write("mood", AliasSet({STABLE: 2}), (), 1, slowly))
    await asyncio.to_thread(entered.wait, 20)
    second = asyncio.create_task(two.write("mood", AliasSet({STABLE: 3}), (), 1, lambda: order.append("two")))
    assert await two.revisions() == {"mood": 1}, "readers do not wait"
    may_go.set()
    assert await first == 2
    with pytest.raises(StaleRevisionError):
        await second
    assert order == ["one"]
    other.close()

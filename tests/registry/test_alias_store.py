"""Names of versions are kept in the database as they hold in memory: after any changes, a restart finds the same."""

import random
from collections.abc import Iterator

import pytest
from database.fixtures import opened

from service.database import Database
from service.registry import names as naming
from service.registry.alias_store import AliasStore
from service.registry.names import CANARY, STABLE, AliasesInMemory, Names

pytestmark = pytest.mark.asyncio


@pytest.fixture
def database(tables_url: str) -> Iterator[Database]:
    """SQLite, and PostgreSQL."""
    made = opened(tables_url)
    yield made
    made.close()


async def test_a_store_that_was_never_written_has_no_names(database: Database) -> None:
    assert await AliasStore(database).read() == {}


async def test_aliases_share_and_history_come_back_as_they_were(database: Database) -> None:
    store = AliasStore(database, clock=lambda: 5.0)
    names = Names()
    for change in (
        lambda n: naming.pointed(n, STABLE, 1),
        lambda n: naming.pointed(n, STABLE, 2),
        lambda n: naming.pointed(n, "own", 1),
        lambda n: naming.split(n, 3, 0.25),
    ):
        names, moves = change(names)
        await store.write("mood", names, moves)
    await store.write("other", *naming.pointed(Names(), STABLE, 7))
    read = await AliasStore(database).read()
    assert read["mood"] == Names({STABLE: 2, "own": 1, CANARY: 3}, 0.25, "", (1,)) == names
    assert read["other"].aliases == {STABLE: 7}
    await store.forget("mood")
    assert set(await store.read()) == {"other"}


async def test_why_a_canary_was_stopped_is_kept_until_it_is_tried_again(database: Database) -> None:
    store = AliasStore(database)
    names, moves = naming.pointed(Names(), STABLE, 1)
    await store.write("mood", names, moves)
    names, moves = naming.split(names, 2, 0.5)
    await store.write("mood", names, moves)
    names, moves = naming.stopped(names, "too slow")
    await store.write("mood", names, moves)
    assert (await store.read())["mood"] == names
    assert (names.canary, names.canary_share, names.rolled_back_reason) == (2, 0.0, "too slow")
    names, moves = naming.split(names, 2, 0.1)
    await store.write("mood", names, moves)
    assert (await store.read())["mood"].rolled_back_reason == names.rolled_back_reason == ""


@pytest.mark.parametrize("seed", range(8))
async def test_any_sequence_of_changes_is_found_again(database: Database, seed: int) -> None:
    draw, store, kept = random.Random(seed), AliasStore(database), AliasesInMemory()
    names = Names()
    for _ in range(40):
        number = draw.randint(1, 5)
        action = draw.choice(["point", "point", "canary", "split", "stop", "remove", "back", "forget"])
        if action == "point":
            names, moves = naming.pointed(names, draw.choice([STABLE, "own"]), number)
        elif action == "canary":
            names, moves = naming.pointed(names, CANARY, number)
        elif action == "split" and names.stable not in (None, number):
            names, moves = naming.split(names, number, draw.choice([0.125, 0.5, 1.0]))
        elif action == "stop" and names.canary_share:
            names, moves = naming.stopped(names, f"reason {number}")
        elif action == "remove" and CANARY in names.aliases:
            names, moves = naming.without(names, CANARY)
        elif action == "back" and names.before:
            names, moves = naming.back(names)
        elif action == "forget" and number not in names.aliases.values():
            names, moves = naming.forgotten(names, number)
        else:
            continue
        await store.write("mood", names, moves)
        await kept.write("mood", names, moves)
        assert (await store.read())["mood"] == names
    assert (await kept.read())["mood"] == names

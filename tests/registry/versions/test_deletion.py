"""Versions are deleted with their history, or stay as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.errors import IllegalMove, NotFound, NotReady
from service.registry.states import ModelState
from service.registry.versions.aliases import AliasMove, AliasSet
from service.registry.versions.revisioned_aliases import InMemoryAliases, do_nothing
from tests.support.registry.fakes import FakeRuntime
from tests.support.registry.internals import version_of
from tests.support.registry.several_servers import (
    READY,
    at_the_gate,
    stable_at,
    states,
    two,
)
from tests.support.registry.tuned_versions import as_of_newer_release, publish, report
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


async def test_version_without_an_alias_can_be_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        with pytest.raises(IllegalMove, match="version 2 of model 'mood' is 'stable'; point that elsewhere first"):
            await w.registry.delete_version("mood", 2)
        assert await w.registry.delete_version("mood", 1) > 1000
        assert Versions(tmp_path).numbers("mood") == [2]
        with pytest.raises(NotFound):
            await ask(w, "mood", "1")
        assert publish(tmp_path, "mood", 3.0) == 3


async def test_model_whose_last_version_is_deleted_is_removed(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0, said=report(0.1, 0.5)))
        await w.registry.delete_version("mood", 1)
        assert [s.name for s in w.registry.statuses()] == ["adder"]
        with pytest.raises(NotFound, match="unknown model 'mood'"):
            w.registry.status("mood")
        assert storage.stored["mood"].aliases == AliasSet()
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 2.0))
        assert outcome.startswith("version 2 is stable: "), "one of the same name starts afresh"
        with pytest.raises(IllegalMove, match="no version of model 'mood' was stable before"):
            await w.registry.rollback("mood")


@pytest.mark.parametrize("alone", [True, False])
async def test_deletion_refused_by_the_database_leaves_the_version(tmp_path: Path, alone: bool) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0), gated=False)
        if not alone:
            await w.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        storage.error = DatabaseUnavailable("away")
        with pytest.raises(DatabaseUnavailable):
            await w.registry.delete_version("mood", 1)
        assert Versions(tmp_path).numbers("mood")[0] == 1
        await w.registry.load("mood", "1")
        assert await ask(w, "mood", "1") == (1, 3.0)
        assert await w.registry.delete_version("mood", 1) > 0
        assert 1 not in Versions(tmp_path).numbers("mood")


async def test_deletion_rolled_back_by_the_database_restores_the_files(tmp_path: Path) -> None:
    class Breaking(InMemoryAliases):
        async def write(
            self,
            model: str,
            names: AliasSet,
            moves: Sequence[AliasMove],
            revision: int,
            meanwhile: Callable[[], None] = do_nothing,
        ) -> int:
            meanwhile()
            if meanwhile is not do_nothing and moves and moves[-1].reason == "deleted":
                raise DatabaseUnavailable("away")  # when it was about to commit
            return await super().write(model, names, moves, revision)

    async with served(tmp_path, Breaking()) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        with pytest.raises(DatabaseUnavailable):
            await w.registry.delete_version("mood", 1)
        assert await ask(w, "mood", "1") == (1, 3.0)
        assert Versions(tmp_path).numbers("mood") == [1, 2]


async def test_deletion_of_a_version_named_meanwhile_is_rejected(tmp_path: Path) -> None:
    async with two(tmp_path, load=True) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        inside = await at_the_gate(here, 1)
        deleting = asyncio.create_task(here.registry.delete_version("mood", 1))
        await until(lambda: states(here)[1] is ModelState.UNLOADING)
        await there.registry.set_alias("mood", "own", 1)
        here.runtime("adder").gate.set()
        await inside
        with pytest.raises(IllegalMove, match="version 1 of model 'mood' is 'own'"):
            await deleting
        assert await ask(here, "mood", "own") == (1, 3.0), "it is there as before"


async def test_concurrent_deletions_of_a_version_both_succeed(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        freed = await asyncio.gather(*(w.registry.delete_version("mood", 1) for w in (here, there)))
        assert sorted(bool(each) for each in freed) == [False, True]
        assert not (list((tmp_path / "versions" / "mood").glob(".deleted-*")))


async def test_alias_change_during_a_deletion_does_not_wait_for_callers(tmp_path: Path) -> None:
    async with served(tmp_path, load=True) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        inside = await at_the_gate(w, 1)
        deleting = asyncio.create_task(w.registry.delete_version("mood", 1))
        await until(lambda: states(w)[1] is ModelState.UNLOADING)
        await w.registry.set_alias("mood", "own", 2)
        assert w.registry.status("mood").aliases == {"stable": 2, "own": 2}
        for again in (
            w.registry.load("mood", "1"),
            w.registry.set_alias("mood", "stable", 1),
            w.registry.delete_version("mood", 1),
        ):
            with pytest.raises(IllegalMove, match="version 1 of model 'mood' is being deleted"):
                await again
        with pytest.raises(NotFound, match="deleted meanwhile"):
            await w.registry.set_alias("mood", "mine", 1)
        w.runtime("adder").gate.set()
        assert await inside == (1, 3.0)
        assert await deleting > 0
        assert states(w) == {2: READY}


async def test_load_of_a_version_being_deleted_is_rejected(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage) as w:
        await w.registry.take("own", publish(tmp_path, "own", method="full"), gated=False)
        await w.registry.take("own", publish(tmp_path, "own", method="full"), gated=False)
        runtime: FakeRuntime = cast(Any, w.registry.resolve("own", "1")).runtime
        await w.registry.unload("own", "1")
        loads = w.loader.loads["own"]
        storage.may_write.clear()
        before = storage.writes
        deleting = asyncio.create_task(w.registry.delete_version("own", 1))
        await until(lambda: storage.writes > before)
        with pytest.raises(IllegalMove, match="version 1 of model 'own' is being deleted"):
            await w.registry.load("own", "1")
        with pytest.raises(NotReady, match="version 1 of model 'own' is being deleted"):
            await ask(w, "own", "1")
        storage.may_write.set()
        await deleting
        assert w.loader.loads["own"] == loads
        assert runtime.freed
        assert w.registry.ledger.total == 4096, "of the other one"


async def test_unloading_version_can_be_deleted(tmp_path: Path) -> None:
    async with served(tmp_path, load=True) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        inside = await at_the_gate(w, 1)
        unloading = asyncio.create_task(w.registry.unload("mood", "1"))
        await until(lambda: states(w)[1] is ModelState.UNLOADING)
        deleting = asyncio.create_task(w.registry.delete_version("mood", 1))
        await until(lambda: version_of(w, "mood").deleting)
        w.runtime("adder").gate.set()
        await asyncio.gather(inside, unloading)
        assert await deleting > 0
        assert states(w) == {2: READY}


# ── versions of a newer release ───────────────────────────────────────────────────────────────────────────────────


async def test_version_that_alone_can_answer_in_place_of_one_of_a_newer_release_is_not_deleted(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as newer:
        await grow(newer, tmp_path, "mood", 1.0, 2.0, 3.0)
        as_of_newer_release(tmp_path, "mood", 3)
        async with served(tmp_path, storage) as w:
            assert await ask(w, "mood") == (2, 6.0)
            await w.registry.delete_version("mood", 2)
            assert await ask(w, "mood") == (1, 3.0)
            with pytest.raises(IllegalMove, match="answers here in place of version 3"):
                await w.registry.delete_version("mood", 1)
            assert await ask(w, "mood") == (1, 3.0)


async def test_old_servers_answer_alike_before_and_after_a_restart_once_their_version_is_deleted_elsewhere(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (old, new):
        await grow(new, tmp_path, "mood", 1.0, 2.0)
        await old.registry.look()
        await stable_at(old, 2)
        await grow(new, tmp_path, "mood", 3.0)
        as_of_newer_release(tmp_path, "mood", 3)
        await old.registry.look()
        assert await ask(old, "mood") == (2, 6.0)
        await new.registry.delete_version("mood", 2)
        await old.registry.look()
        assert await ask(old, "mood") == (1, 3.0)
        await old.registry.look()
        await until(lambda: 2 not in states(old))

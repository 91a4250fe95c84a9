"""Users point, remove and roll back aliases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from model_zoo.versions import Versions
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady
from tests.support.registry.internals import skip_looks, writes_in_progress
from tests.support.registry.several_servers import two
from tests.support.registry.tuned_versions import publish
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


async def test_custom_alias_can_be_moved_and_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        status = await w.registry.set_alias("mood", "friday-demo", 1)
        assert dict(status.aliases) == {"friday-demo": 1, "stable": 2}
        assert await ask(w, "mood", "friday-demo") == (1, 3.0)
        await w.registry.set_alias("mood", "friday-demo", 2)
        assert await ask(w, "mood", "friday-demo") == (2, 6.0)
        await w.registry.delete_alias("mood", "friday-demo")
        with pytest.raises(NotFound):
            await ask(w, "mood", "friday-demo")


@pytest.mark.parametrize("alias", ["", "1", "Stable", "a b", "-x", "ä", "a" * 64, "a/b", "x\n"])
async def test_alias_that_is_no_word_is_refused(tmp_path: Path, alias: str) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        with pytest.raises(InvalidInput, match="alias: expected lower-case letters"):
            await w.registry.set_alias("mood", alias, 1)


async def test_alias_change_of_unknown_targets_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        with pytest.raises(NotFound, match="unknown version '5'"):
            await w.registry.set_alias("mood", "stable", 5)
        with pytest.raises(IllegalMove, match="'stable' cannot be removed"):
            await w.registry.delete_alias("mood", "stable")
        with pytest.raises(NotFound, match="unknown alias 'canary'"):
            await w.registry.delete_alias("mood", "canary")
        for verb in (
            w.registry.set_alias("adder", "x", 1),
            w.registry.rollback("adder"),
            w.registry.set_traffic("adder", 1, 0.5),
        ):
            with pytest.raises(IllegalMove, match="'adder' is a model of the zoo: it has version 1, which is 'stable'"):
                await verb
        with pytest.raises(NotFound, match="unknown model 'mod'; did you mean 'mood'"):
            await w.registry.set_alias("mod", "stable", 1)


async def test_stable_alias_to_an_unloadable_version_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        number = publish(tmp_path, "mood", 2.0, golden=[(1.0, -1.0)])
        with pytest.raises(NotReady, match="golden check failed"):
            await w.registry.add_version("mood", number)
        with pytest.raises(NotReady, match="golden check failed"):
            await w.registry.set_alias("mood", "stable", number)
        assert w.registry.traffic("mood").stable == 1
        assert await ask(w, "mood") == (1, 3.0)


async def test_calls_during_stable_moves_never_fail(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        for slope in (2.0, 3.0):
            await w.registry.add_version("mood", publish(tmp_path, "mood", slope))
        stop = asyncio.Event()
        seen: set[int] = set()

        async def keep_asking() -> int:
            calls = 0
            while not stop.is_set():
                number, value = await ask(w, "mood")
                assert value == 3.0 * number
                seen.add(number)
                calls += 1
            return calls

        callers = [asyncio.create_task(keep_asking()) for _ in range(4)]
        for number in (2, 3, 1, 2, 3):
            await w.registry.set_alias("mood", "stable", number)
            await until(lambda number=number: number in seen)
            seen.clear()
        stop.set()
        assert all(await asyncio.gather(*callers))


async def test_repeated_rollback_goes_back_step_by_step(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 2)
        assert await ask(w, "mood") == (2, 6.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (2, 1)
        assert await ask(w, "mood") == (1, 3.0)
        with pytest.raises(IllegalMove, match="no version of model 'mood' was stable before the one that is"):
            await w.registry.rollback("mood")


async def test_rollback_skips_a_deleted_version(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await w.registry.delete_version("mood", 2)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 1)


async def test_rollback_with_a_stale_revision_is_rejected(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with two(tmp_path, storage) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0, 3.0)
        storage.may_write.clear()
        before = storage.writes
        both = [asyncio.create_task(w.registry.rollback("mood")) for w in (here, there)]
        await until(lambda: storage.writes == before + 2)
        storage.may_write.set()
        done = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(each, IllegalMove) for each in done) == 1, done
        assert storage.stored["mood"].aliases.stable == 2


async def test_concurrent_rollbacks_apply_one_and_reject_the_other(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        storage.may_write.clear()
        twice = [asyncio.create_task(w.registry.rollback("mood")) for _ in range(2)]
        await until(lambda: writes_in_progress(w) == 2)  # both have looked
        storage.may_write.set()
        _, second = await asyncio.gather(*twice, return_exceptions=True)
        assert isinstance(second, IllegalMove), second
        assert w.registry.traffic("mood").stable == 2
        assert (await ask(w, "mood"))[0] == 2


async def test_alias_to_a_version_deleted_meanwhile_is_rejected(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        Versions(tmp_path).withdraw("mood", 1)  # as another server does in the moment between the look and the write
        skip_looks(there)
        with pytest.raises(NotFound, match="unknown version '1'; it was deleted meanwhile"):
            await there.registry.set_alias("mood", "own", 1)

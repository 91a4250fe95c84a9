"""Changes at the same time, by two servers or beside callers on one: each is judged against what really is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.errors import IllegalMove, NotFound, NotReady
from service.registry.rollout.canary import Bounds
from service.registry.states import ModelState
from tests.support.registry_fakes import FakeRuntime
from tests.support.registry_internals import record_of, skip_looks, version_of
from tests.support.scheduler_fakes import until
from tests.support.several_servers import (
    READY,
    at_the_gate,
    stable_at,
    states,
    two,
)
from tests.support.tuned_versions import publish, report
from tests.support.tuned_worlds import SlowAliases, ask, grow, served

pytestmark = pytest.mark.asyncio


# ── two that change the same ──────────────────────────────────────────────────────────────────────────────────────────


async def test_gate_decides_again_after_another_server_promoted(tmp_path: Path) -> None:
    """Both compared their version with version 1; the second finds version 2 in its place and does not overwrite it."""
    kept = SlowAliases()
    async with two(tmp_path, kept) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        numbers = [publish(tmp_path, "mood", slope, said=report(0.8, 0.5, (1, 0.7))) for slope in (2.0, 3.0)]
        kept.let.clear()
        before = kept.asked
        first = asyncio.create_task(here.registry.take("mood", numbers[0]))
        await until(lambda: kept.asked == before + 1)
        second = asyncio.create_task(there.registry.take("mood", numbers[1]))
        await until(lambda: kept.asked == before + 2)  # both have judged
        kept.let.set()
        assert (await first).startswith("version 2 is stable: ")
        assert await second == (
            "version 3 serves by its number and is not stable: accuracy 0.8 is better than the baseline's 0.5 (always the "
            "commonest class), but it was not compared with version 2, which is stable now; promote it by hand"
        )
        assert kept.stored["mood"].aliases.stable == 2
        await there.registry.look()
        await stable_at(there, 2)
        assert [move.new for _, move in kept.moves if move.alias == "stable"] == [1, 2]


async def test_concurrent_first_versions_leave_one_stable_on_both_servers(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        numbers = await asyncio.gather(*(asyncio.to_thread(publish, tmp_path, "mood", slope) for slope in (1.0, 2.0)))
        assert sorted(numbers) == [1, 2]
        outcomes = await asyncio.gather(
            *(w.registry.take("mood", number) for w, number in zip((here, there), numbers, strict=True))
        )
        assert sum("is stable:" in outcome for outcome in outcomes) == 1, outcomes
        await asyncio.gather(here.registry.look(), there.registry.look())
        await until(lambda: here.registry.traffic("mood") == there.registry.traffic("mood"))
        assert len(states(here)) == len(states(there)) == 2


async def test_concurrent_changes_of_different_aliases_are_both_stored(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with two(tmp_path, kept) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        kept.let.clear()
        before = kept.asked
        changes = [
            asyncio.create_task(here.registry.set_alias("mood", "left", 1)),
            asyncio.create_task(there.registry.set_alias("mood", "right", 2)),
        ]
        await until(lambda: kept.asked == before + 2)
        kept.let.set()
        await asyncio.gather(*changes)
        assert kept.stored["mood"].aliases.targets == {"stable": 2, "left": 1, "right": 2}


async def test_rollback_with_a_stale_revision_is_rejected(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with two(tmp_path, kept) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0, 3.0)
        kept.let.clear()
        before = kept.asked
        both = [asyncio.create_task(w.registry.rollback("mood")) for w in (here, there)]
        await until(lambda: kept.asked == before + 2)
        kept.let.set()
        done = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(each, IllegalMove) for each in done) == 1, done
        assert kept.stored["mood"].aliases.stable == 2


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


async def test_alias_to_a_version_deleted_meanwhile_is_rejected(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        Versions(tmp_path).withdraw("mood", 1)  # as another server does in the moment between the look and the write
        skip_looks(there)
        with pytest.raises(NotFound, match="unknown version '1'; it was deleted meanwhile"):
            await there.registry.set_alias("mood", "own", 1)


async def test_concurrent_deletions_of_a_version_both_succeed(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        freed = await asyncio.gather(*(w.registry.delete_version("mood", 1) for w in (here, there)))
        assert sorted(bool(each) for each in freed) == [False, True]
        assert not (list((tmp_path / "versions" / "mood").glob(".deleted-*")))


async def test_canary_failing_on_one_server_loses_its_share_on_all(tmp_path: Path) -> None:
    async with two(tmp_path, bounds=Bounds(least_calls=4, least_errors=3)) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        await here.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await here.registry.set_traffic("mood", 2, 0.5)
        await there.registry.look()
        await until(lambda: states(there)[2] is READY)
        watch = there.registry.resolve("mood", "2").on_outcome
        assert watch is not None
        for _ in range(4):
            watch(True, 0.01)
        await until(lambda: record_of(there, "mood").stopped_canary is None)
        await here.registry.look()
        assert here.registry.traffic("mood") == there.registry.traffic("mood")
        assert here.registry.traffic("mood").canary_share == 0.0
        assert "4 of its last 4 calls failed" in here.registry.traffic("mood").rolled_back_reason


async def test_canary_stop_is_stored_once_the_database_answers(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with two(tmp_path, kept, bounds=Bounds(least_calls=4, least_errors=3)) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        await here.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await here.registry.set_traffic("mood", 2, 0.5)
        kept.trouble = DatabaseUnavailable("away")
        watch = here.registry.resolve("mood", "2").on_outcome
        assert watch is not None
        for _ in range(4):
            watch(True, 0.01)
        await until(lambda: kept.trouble is None)
        await there.registry.set_alias("mood", "own", 1)  # another change of names does not give it its share again
        await here.registry.look()
        assert here.registry.traffic("mood").canary_share == 0.0
        await until(lambda: kept.stored["mood"].aliases.canary_share == 0.0)
        assert here.registry.status("mood").aliases["own"] == 1


# ── deleting beside others on one server ──────────────────────────────────────────────────────────────────────────────


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
    kept = SlowAliases()
    async with served(tmp_path, kept) as w:
        await w.registry.take("own", publish(tmp_path, "own", method="full"), gated=False)
        await w.registry.take("own", publish(tmp_path, "own", method="full"), gated=False)
        runtime: FakeRuntime = cast(Any, w.registry.resolve("own", "1")).runtime
        await w.registry.unload("own", "1")
        loads = w.loader.loads["own"]
        kept.let.clear()
        before = kept.asked
        deleting = asyncio.create_task(w.registry.delete_version("own", 1))
        await until(lambda: kept.asked > before)
        with pytest.raises(IllegalMove, match="version 1 of model 'own' is being deleted"):
            await w.registry.load("own", "1")
        with pytest.raises(NotReady, match="version 1 of model 'own' is being deleted"):
            await ask(w, "own", "1")
        kept.let.set()
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

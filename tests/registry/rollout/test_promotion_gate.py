"""Published versions pass the gate before they become stable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.errors import NotFound
from tests.support.registry.several_servers import (
    READY,
    stable_at,
    states,
    two,
)
from tests.support.registry.tuned_versions import publish, report
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


async def test_good_first_version_becomes_stable_and_a_better_one_replaces_it(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        assert await ask(w, "mood") == (1, 3.0)
        await grow(w, tmp_path, "mood", 2.0)
        assert await ask(w, "mood") == (2, 6.0)
        assert await ask(w, "mood", "stable") == (2, 6.0)
        assert await ask(w, "mood", "1") == (1, 3.0)
        newest, oldest = w.registry.versions("mood")
        assert (newest.number, newest.aliases, newest.state) == (2, ("stable",), READY)
        assert (oldest.number, oldest.aliases, oldest.state) == (1, (), READY), "a rollback would lead there"
        assert newest.lineage is not None
        assert newest.lineage["method"] == "head"
        assert newest.created == 1.7e9
        assert newest.size_bytes > 1000


async def test_first_version_that_fails_the_gate_serves_by_its_number_only(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 1.0, said=report(0.4, 0.5)))
        assert outcome == (
            "version 1 serves by its number and is not stable: accuracy 0.4 is not better than the baseline's 0.5 "
            "(always the commonest class)"
        )
        assert await ask(w, "mood", "1") == (1, 3.0)
        with pytest.raises(NotFound) as caught:
            await ask(w, "mood")
        assert caught.value.message == (
            "unknown version 'stable'; model 'mood' has versions 1; none has become 'stable' yet, so call one by its number, "
            "or promote it"
        )
        assert w.registry.traffic("mood").stable == 0
        await w.registry.set_alias("mood", "stable", 1)
        assert await ask(w, "mood") == (1, 3.0)


async def test_worse_version_leaves_stable_unchanged(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 2.0, said=report(0.6, 0.5, (1, 0.9))))
        assert "accuracy 0.6 is worse than the 0.9 of version 1, which stays stable" in outcome
        assert await ask(w, "mood") == (1, 3.0)
        assert await ask(w, "mood", "2") == (2, 6.0)


async def test_version_taken_ungated_is_not_promoted(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        outcome = await w.registry.take("mood", publish(tmp_path, "mood"), gated=False)
        assert outcome == "version 1 serves by its number; promotion was not asked for"


async def test_concurrent_publishes_are_both_served(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        numbers = await asyncio.gather(
            *(asyncio.to_thread(publish, tmp_path, "mood", float(i), job_id=str(i)) for i in (1, 2))
        )
        assert sorted(numbers) == [1, 2]
        outcomes = await asyncio.gather(*(w.registry.take("mood", number) for number in numbers))
        assert sum("is stable:" in outcome for outcome in outcomes) >= 1
        assert w.registry.traffic("mood").stable in (1, 2)
        for number in numbers:
            assert (await ask(w, "mood", str(number)))[0] == number


async def test_gate_decides_again_after_another_server_promoted(tmp_path: Path) -> None:
    """Both servers compared with version 1; the second one finds version 2 stable and does not replace it."""
    storage = SlowAliases()
    async with two(tmp_path, storage) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        numbers = [publish(tmp_path, "mood", slope, said=report(0.8, 0.5, (1, 0.7))) for slope in (2.0, 3.0)]
        storage.may_write.clear()
        before = storage.writes
        first = asyncio.create_task(here.registry.take("mood", numbers[0]))
        await until(lambda: storage.writes == before + 1)
        second = asyncio.create_task(there.registry.take("mood", numbers[1]))
        await until(lambda: storage.writes == before + 2)  # both have judged
        storage.may_write.set()
        assert (await first).startswith("version 2 is stable: ")
        assert await second == (
            "version 3 serves by its number and is not stable: accuracy 0.8 is better than the baseline's 0.5 (always the "
            "commonest class), but it was not compared with version 2, which is stable now; promote it by hand"
        )
        assert storage.stored["mood"].aliases.stable == 2
        await there.registry.look()
        await stable_at(there, 2)
        assert [move.new for _, move in storage.moves if move.alias == "stable"] == [1, 2]


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

"""Canaries get their share of calls, and lose it when they leave their bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from service.database import DatabaseUnavailable
from service.errors import IllegalMove, InvalidInput, NotFound
from service.registry.rollout.canary import Bounds
from service.registry.versions.revisioned_aliases import InMemoryAliases
from tests.support.registry.internals import record_of
from tests.support.registry.several_servers import READY, states, two
from tests.support.registry.tuned_versions import publish
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(("share", "expected"), [(0.1, 10), (0.25, 25), (1.0, 100), (0.33, 33)])
async def test_canary_gets_exactly_its_share_of_calls_without_a_version(
    tmp_path: Path, share: float, expected: int
) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        status = await w.registry.set_traffic("mood", 2, share)
        assert (status.traffic.stable, status.traffic.canary, status.traffic.canary_share) == (1, 2, share)
        numbers = [(await ask(w, "mood"))[0] for _ in range(100)]
        assert numbers.count(2) == expected
        assert {(await ask(w, "mood", "stable"))[0] for _ in range(10)} == {1}, "a call that names a version gets it"
        assert {(await ask(w, "mood", "canary"))[0] for _ in range(10)} == {2}


async def test_call_resolved_then_inferred_counts_once_for_the_canary_share(tmp_path: Path) -> None:
    """The fast path of the pipeline may resolve a request that then takes the full path."""
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        numbers = []
        for _ in range(10):
            w.inference.find_ready("mood", "")
            numbers.append((await ask(w, "mood"))[0])
        assert numbers.count(2) == 5


async def test_canary_with_zero_share_or_promotion_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        status = await w.registry.set_traffic("mood", 0, 0.0)
        assert (status.traffic.canary, status.traffic.canary_share) == (0, 0.0)
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}
        await w.registry.set_traffic("mood", 2, 0.5)
        status = await w.registry.set_alias("mood", "stable", 2)
        assert (status.traffic.stable, status.traffic.canary, status.traffic.canary_share) == (2, 0, 0.0)


async def test_invalid_traffic_split_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0), gated=False)
        with pytest.raises(IllegalMove, match="no stable version"):
            await w.registry.set_traffic("mood", 1, 0.5)
        await w.registry.set_alias("mood", "stable", 1)
        for share in (-0.1, 1.1, float("nan"), float("inf")):
            with pytest.raises(InvalidInput, match=r"canary_share: expected 0\.\.1"):
                await w.registry.set_traffic("mood", 1, share)
        with pytest.raises(InvalidInput, match="version 1 is stable already"):
            await w.registry.set_traffic("mood", 1, 0.5)
        with pytest.raises(NotFound):
            await w.registry.set_traffic("mood", 3, 0.5)
        with pytest.raises(InvalidInput, match="canary: expected the number of a version, got 0"):
            await w.registry.set_traffic("mood", 0, 0.5)


async def test_unloaded_canary_gets_no_calls(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        await w.registry.unload("mood", "2")
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}


async def test_failing_canary_loses_its_share(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage, bounds=Bounds(least_calls=10, least_errors=3)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)

        def fail(*_: object) -> Any:
            raise RuntimeError

        cast(Any, w.registry.resolve("mood", "2")).head.run = fail
        for _ in range(100):
            await w.inference.infer(w.request("1", model="mood"))
            if not w.registry.traffic("mood").canary_share:
                break
        traffic = w.registry.traffic("mood")
        assert (traffic.stable, traffic.canary, traffic.canary_share) == (1, 2, 0.0)
        assert traffic.rolled_back_reason.startswith("10 of its last 10 calls failed (100.0%)")
        assert w.sample("zoo_canary_rollbacks_total", model="mood") == 1
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}
        await until(lambda: storage.stored["mood"].aliases.rolled_back_reason)
        assert storage.stored["mood"].aliases.canary_share == 0.0
    async with served(tmp_path, storage) as w:
        assert w.registry.traffic("mood") == traffic


async def test_invalid_requests_do_not_count_against_the_canary(tmp_path: Path) -> None:
    async with served(tmp_path, bounds=Bounds(least_calls=5, least_errors=1)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 1.0)
        for _ in range(50):
            await w.inference.infer(w.request("bad", model="mood"))
        assert w.registry.traffic("mood").canary_share == 1.0


async def test_versions_without_a_traffic_split_are_not_observed(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        assert w.registry.resolve("mood").on_outcome is None
        assert w.registry.status("adder").state is READY
        assert w.registry.resolve("adder").on_outcome is None


async def test_canary_failing_during_an_alias_write_stays_without_its_share(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage, bounds=Bounds(least_calls=4)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await w.registry.set_traffic("mood", 2, 1.0)
        storage.may_write.clear()
        naming = asyncio.create_task(w.registry.set_alias("mood", "own", 1))
        before = storage.writes
        await until(lambda: storage.writes > before)
        watch = w.registry.resolve("mood", "2").on_outcome
        assert watch is not None
        for _ in range(4):
            watch(True, 0.01)
        assert w.registry.traffic("mood").canary_share == 0.0
        storage.may_write.set()
        await naming
        await until(lambda: storage.stored["mood"].aliases.canary_share == 0.0)
        traffic = w.registry.traffic("mood")
        assert (traffic.canary, traffic.canary_share) == (2, 0.0)
        assert "4 of its last 4 calls failed" in traffic.rolled_back_reason
        assert w.registry.status("mood").aliases["own"] == 1


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
    storage = SlowAliases()
    async with two(tmp_path, storage, bounds=Bounds(least_calls=4, least_errors=3)) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        await here.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await here.registry.set_traffic("mood", 2, 0.5)
        storage.error = DatabaseUnavailable("away")
        watch = here.registry.resolve("mood", "2").on_outcome
        assert watch is not None
        for _ in range(4):
            watch(True, 0.01)
        await until(lambda: storage.error is None)
        await there.registry.set_alias("mood", "own", 1)  # another change of names does not give it its share again
        await here.registry.look()
        assert here.registry.traffic("mood").canary_share == 0.0
        await until(lambda: storage.stored["mood"].aliases.canary_share == 0.0)
        assert here.registry.status("mood").aliases["own"] == 1

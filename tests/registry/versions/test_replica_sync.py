"""Several servers on one home and one database act as one: all serve what one of them publishes, names or deletes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.errors import NotFound, NotReady, ZooError
from service.registry.states import ModelState
from service.registry.versions.revisioned_aliases import InMemoryAliases
from tests.support.registry.fakes import World, world
from tests.support.registry.internals import record_of, reported_damage
from tests.support.registry.several_servers import (
    READY,
    at_the_gate,
    stable_at,
    states,
    two,
)
from tests.support.registry.tuned_versions import as_of_newer_release, publish, report, with_tuned
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


# ── learning what others did ──────────────────────────────────────────────────────────────────────────────────────────


async def test_version_published_by_one_server_is_served_by_another_after_a_look(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        assert "mood" not in {status.name for status in there.registry.statuses()}
        await there.registry.look()
        assert there.registry.traffic("mood").stable == 1
        assert await ask(there, "mood") == (1, 3.0)
        await grow(here, tmp_path, "mood", 2.0)
        await there.registry.look()
        await stable_at(there, 2)
        assert await ask(there, "mood") == (2, 6.0)
        assert states(there) == {2: READY, 1: READY}, "where a rollback leads stays loaded there, too"


async def test_following_server_looks_periodically(tmp_path: Path) -> None:
    slept: list[float] = []
    wake = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await wake.acquire()

    storage = InMemoryAliases()
    async with served(tmp_path, storage) as here, served(tmp_path, storage, sleep=sleep) as there:
        there.registry.follow(2.0)
        await until(lambda: slept == [2.0])
        await grow(here, tmp_path, "mood", 1.0)
        wake.release()
        await until(lambda: slept == [2.0, 2.0])
        assert there.registry.traffic("mood").stable == 1
        there.registry.unfollow()
        await grow(here, tmp_path, "mood", 2.0)
        wake.release()
        assert there.registry.traffic("mood").stable == 1


async def test_alias_share_and_rollback_reach_other_servers(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0, 3.0)
        await here.registry.set_alias("mood", "own", 1)
        await here.registry.set_traffic("mood", 1, 0.5)
        await there.registry.look()
        await until(lambda: states(there)[1] is READY)
        assert await ask(there, "mood", "own") == (1, 3.0)
        assert Counter([(await ask(there, "mood"))[0] for _ in range(10)]) == {3: 5, 1: 5}
        await there.registry.rollback("mood")
        await here.registry.look()
        assert (await here.registry.rollback("mood"))[1] == 2, "it goes on from where the other stopped"
        await there.registry.look()
        assert there.registry.traffic("mood") == here.registry.traffic("mood")
        assert there.registry.traffic("mood").stable == 1
        await here.registry.delete_alias("mood", "own")
        await there.registry.look()
        with pytest.raises(NotFound):
            there.registry.resolve("mood", "own")


async def test_previous_stable_answers_until_the_new_stable_is_loaded(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        for number in (1, 2):
            said = report(0.8, 0.5, (1, 0.7) if number == 2 else None)
            await here.registry.take("own", publish(tmp_path, "own", method="full", said=said), gated=number == 1)
        await there.registry.look()
        await ask(there, "own")
        there.loader.gate.clear()
        await here.registry.set_alias("own", "stable", 2)
        await there.registry.look()
        await until(lambda: states(there, "own")[2] is ModelState.LOADING)
        assert there.registry.traffic("own").stable == 1
        assert (await ask(there, "own"))[0] == 1
        await there.registry.look()
        assert there.registry.traffic("own").stable == 1, "another look changes nothing"
        there.loader.gate.set()
        await stable_at(there, 2, "own")
        assert (await ask(there, "own"))[0] == 2


async def test_new_stable_that_cannot_load_here_leaves_the_previous_one_serving(tmp_path: Path) -> None:
    now = 100.0
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as here, served(tmp_path, storage, clock=lambda: now) as there:
        await here.registry.take("own", publish(tmp_path, "own", method="full"))
        await there.registry.look()
        await there.registry.load("own")
        await here.registry.take("own", publish(tmp_path, "own", method="full"), gated=False)
        there.loader.fail("own", NotReady("no luck"))
        await here.registry.set_alias("own", "stable", 2)
        await there.registry.look()
        await until(lambda: there.registry.versions("own")[0].reason == "no luck")
        loads = there.loader.loads["own"]
        await there.registry.look()
        assert (await ask(there, "own"))[0] == 1
        assert there.loader.loads["own"] == loads, "it is not tried at every look"
        now += 60.0
        await there.registry.look()
        await stable_at(there, 2, "own")
        assert (await ask(there, "own"))[0] == 2


async def test_version_deleted_elsewhere_is_removed_once_its_callers_are_answered(tmp_path: Path) -> None:
    async with two(tmp_path, load=True) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        await there.registry.load("mood", "1")
        await until(lambda: states(there) == {1: READY, 2: READY})  # no check of a load is to stand at the gate
        inside = await at_the_gate(there, 1)
        await here.registry.delete_version("mood", 1)
        await there.registry.look()
        await there.registry.look()
        with pytest.raises(NotReady, match="version 1 of model 'mood' is being deleted"):
            await ask(there, "mood", "1")
        assert not inside.done()
        there.runtime("adder").gate.set()
        assert await inside == (1, 3.0)
        await until(lambda: states(there) == {2: READY})
        with pytest.raises(NotFound, match="unknown version '1'"):
            await ask(there, "mood", "1")
        assert (await ask(there, "mood"))[0] == 2


async def test_model_whose_last_version_is_deleted_is_removed_on_all_servers(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await here.registry.take("mood", publish(tmp_path, "mood"), gated=False)
        await there.registry.look()
        await there.registry.load("mood", "1")
        await here.registry.delete_version("mood", 1)
        await there.registry.look()
        await until(lambda: [status.name for status in there.registry.statuses()] == ["adder"])
        assert there.metrics.get_sample_value("zoo_model_state", {"model": "mood", "state": "READY"}) is None


async def test_versions_in_use_survive_an_unmounted_disk(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        (tmp_path / "versions").rename(tmp_path / "away")
        await w.registry.look()
        assert await ask(w, "mood") == (2, 6.0)
        (tmp_path / "away").rename(tmp_path / "versions")
        await w.registry.look()
        await until(lambda: list(states(w)) == [2, 1])


async def test_look_without_a_database_changes_nothing_and_is_retried(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with two(tmp_path, storage) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        storage.revisions_error = DatabaseUnavailable("away")
        with pytest.raises(NotFound):
            await ask(there, "mood")
        storage.revisions_error = None
        assert await ask(there, "mood") == (1, 3.0)


async def test_damaged_version_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path) as w:
        publish(tmp_path, "mood")
        (tmp_path / "versions" / "mood" / "1" / "card.json").write_text("{")
        for _ in range(3):
            await w.registry.look()
        assert reported_damage(w) == {("mood", 1)}
        assert [status.name for status in w.registry.statuses()] == ["adder"]


async def test_server_that_starts_answers_with_the_version_before_those_of_a_newer_release(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as newer:
        await grow(newer, tmp_path, "mood", 1.0, 2.0, 3.0)
        for number in (2, 3):
            as_of_newer_release(tmp_path, "mood", number)
        async with served(tmp_path, storage) as w:
            assert await ask(w, "mood") == (1, 3.0)
            assert w.registry.traffic("mood").stable == 1
            assert states(w) == {1: READY}
            for _ in range(3):
                await w.registry.look()
                assert await ask(w, "mood") == (1, 3.0)
            assert (await w.registry.rollback("mood"))[1] == 3, "stable was 3 for the other servers until now"
            await newer.registry.look()
            await stable_at(newer, 1)
            assert await ask(w, "mood") == (1, 3.0)


async def test_model_that_is_learned_late_answers_with_the_version_before_those_of_a_newer_release(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (here, there):
        await grow(there, tmp_path, "mood", 1.0, 2.0)
        as_of_newer_release(tmp_path, "mood", 2)
        await here.registry.look()
        assert await ask(here, "mood") == (1, 3.0)
        await there.registry.set_alias("mood", "stable", 1)
        await here.registry.look()
        assert await ask(here, "mood") == (1, 3.0)


# ── a call for what is not known yet ──────────────────────────────────────────────────────────────────────────────────


async def test_call_to_a_version_just_published_elsewhere_finds_it(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await grow(here, tmp_path, "mood", 1.0)
        assert await ask(there, "mood") == (1, 3.0), "a model"
        await here.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        assert await ask(there, "mood", "2") == (2, 6.0), "a number"
        await here.registry.set_alias("mood", "own", 2)
        assert await ask(there, "mood", "own") == (2, 6.0), "an alias"
        await here.registry.take("mood", publish(tmp_path, "mood", 3.0), gated=False)
        assert (await there.registry.load("mood", "3")).state is READY


async def test_many_calls_to_unknown_models_share_rare_looks(tmp_path: Path) -> None:
    looks = 0
    slept: list[float] = []

    class Counting(Versions):
        def listing(self) -> dict[str, set[int]]:
            nonlocal looks
            looks += 1
            return super().listing()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with world(load=False, versions=Counting(tmp_path), clock=lambda: 100.0, sleep=sleep) as w:
        with_tuned(w, tmp_path)
        await w.registry.restore()
        await grow(w, tmp_path, "mood", 1.0)
        looks, slept[:] = 0, []

        async def ask_in_vain(model: str, version: str) -> None:
            with pytest.raises(NotFound):
                await w.inference.infer(w.request("1", model=model, version=version))

        wrong = [("mood", str(n)) for n in range(2, 52)] + [(f"name{n}", "") for n in range(50)]
        await asyncio.gather(*(ask_in_vain(*each) for each in wrong))
        assert looks == 1, "they share one"
        assert slept == [0.5], "which waits until it is time"
        for model in ("../mood", "Mood", "a" * 70, "adder"):  # what no server can have published
            await ask_in_vain(model, "7")
        assert looks == 1


# ── anything, in any order ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(6))
async def test_servers_after_any_changes_agree_with_the_stored_aliases(tmp_path: Path, seed: int) -> None:
    """Pairs of changes at once, each through a server that may not have looked for a while."""
    draw, storage = random.Random(seed), InMemoryAliases()
    async with two(tmp_path, storage) as worlds:
        await grow(worlds[0], tmp_path, "mood", 1.0, 2.0, 3.0)

        async def change(w: World) -> None:
            number = draw.choice(Versions(tmp_path).numbers("mood"))
            verbs: list[Callable[[], Awaitable[object]]] = [
                lambda: w.registry.take("mood", publish(tmp_path, "mood", 1.0), gated=draw.random() < 0.5),
                lambda: w.registry.set_alias("mood", draw.choice(["stable", "own", "canary"]), number),
                lambda: w.registry.delete_alias("mood", draw.choice(["own", "canary"])),
                lambda: w.registry.rollback("mood"),
                lambda: w.registry.set_traffic("mood", number, draw.choice([0.0, 0.25, 1.0])),
                lambda: w.registry.delete_version("mood", number),
                w.registry.look,
            ]
            with suppress(ZooError):  # refused, as one may be
                await draw.choice(verbs)()

        for _ in range(25):
            await asyncio.gather(*(change(w) for w in worlds))
        on_disk = set(Versions(tmp_path).numbers("mood"))

        def agreed() -> bool:
            names = storage.stored["mood"].aliases
            records = [record_of(w, "mood") for w in worlds]
            return all(record.active == names and set(record.versions) == on_disk for record in records)

        for w in worlds:
            await w.registry.look()
        await until(agreed)
        names = storage.stored["mood"].aliases
        assert {*names.targets.values(), *names.previous_stable} <= on_disk, "nothing names what is gone"
        assert {(await ask(w, "mood", "stable"))[0] for w in worlds} == {names.stable}

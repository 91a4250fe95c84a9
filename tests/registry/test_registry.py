"""Loading, unloading and resolving, with a loader that does as a test says."""

import asyncio
import os
import sys
import threading

import pytest

from model_zoo.cards.card import Card
from service.errors import IllegalMove, NotFound, NotReady
from service.registry.loading.loaded import Loaded
from service.registry.states import ModelState
from service.runtime.lanes.threads import NICENESS
from tests.support.registry_fakes import PATIENCE_S, World, world
from tests.support.scheduler_fakes import until

pytestmark = pytest.mark.asyncio

LOADING, READY, UNLOADING, UNAVAILABLE = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNLOADING,
    ModelState.UNAVAILABLE,
)


def state_metric(w: World, model: str) -> dict[str, float]:
    return {str(state): w.sample("zoo_model_state", model=model, state=str(state)) for state in ModelState}


# ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_never_loaded_model_is_unavailable_with_that_reason() -> None:
    async with world(load=False) as w:
        status = w.registry.status("adder")
        assert (status.state, status.reason) == (UNAVAILABLE, "not loaded")
        assert not status.ever_loaded
        assert (status.versions, dict(status.aliases), status.runtime) == ((), {}, None)
        assert state_metric(w, "adder")["UNAVAILABLE"] == 1
        with pytest.raises(NotReady, match="not loaded"):
            w.registry.resolve("adder")


async def test_loaded_model_is_ready_under_its_number_and_alias() -> None:
    async with world() as w:
        status = w.registry.status("adder")
        assert status.state is READY
        assert status.versions == (1,)
        assert status.aliases == {"stable": 1}
        assert status.runtime is not None
        assert (status.runtime.device, status.runtime.memory_bytes, status.runtime.load_s) == ("cpu", 4096, 0.25)
        served = {w.registry.resolve("adder", version) for version in ("", "stable", "1")}
        assert len(served) == 1
        assert w.moves == [("adder", LOADING), ("adder", READY)]
        assert w.sample("zoo_model_memory_bytes", model="adder", version="1") == 4096
        assert w.sample("zoo_model_load_seconds", model="adder", version="1") == 0.25
        assert state_metric(w, "adder") == {"LOADING": 0, "READY": 1, "UNLOADING": 0, "UNAVAILABLE": 0}


async def test_load_of_a_ready_model_changes_nothing() -> None:
    async with world() as w:
        served = w.registry.resolve("adder")
        assert (await w.registry.load("adder")).state is READY
        assert w.registry.resolve("adder") is served
        assert w.loader.loads["adder"] == 1


async def test_concurrent_loads_of_a_model_share_one_load() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        calls = [asyncio.create_task(w.registry.load("adder")) for _ in range(5)]
        await until(lambda: w.loader.loads["adder"])
        assert w.registry.status("adder").state is LOADING
        assert not any(call.done() for call in calls)
        w.loader.gate.set()
        assert [status.state for status in await asyncio.gather(*calls)] == [READY] * 5
        assert w.loader.loads["adder"] == 1
        assert w.moves == [("adder", LOADING), ("adder", READY)]


async def test_load_whose_caller_leaves_continues() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        leaver = asyncio.create_task(w.registry.load("adder"))
        stayer = asyncio.create_task(w.registry.load("adder"))
        await until(lambda: w.loader.loads["adder"])
        leaver.cancel()
        await asyncio.wait([leaver])
        assert w.registry.status("adder").state is LOADING
        w.loader.gate.set()
        assert (await stayer).state is READY


async def test_models_are_loaded_one_after_another() -> None:
    async with world("a", "b", load=False) as w:
        w.loader.gate.clear()
        calls = [asyncio.create_task(w.registry.load(name)) for name in "ab"]
        await until(lambda: w.loader.loads["a"])
        for _ in range(100):
            await asyncio.sleep(0)
        assert w.loader.loads["b"] == 0
        assert w.registry.status("b").state is LOADING
        w.loader.gate.set()
        await asyncio.gather(*calls)


async def test_failed_load_leaves_a_reason_while_others_serve() -> None:
    async with world("a", "b", load=False) as w:
        w.loader.fail("a", NotReady("its weights are not on this machine"))
        with pytest.raises(NotReady, match="'a' could not be loaded: its weights are not on this machine"):
            await w.registry.load("a")
        await w.registry.load("b")
        status = w.registry.status("a")
        assert (status.state, status.reason) == (UNAVAILABLE, "its weights are not on this machine")
        assert status.ever_loaded
        assert status.versions == ()
        with pytest.raises(NotReady, match="unavailable: its weights") as caught:
            w.registry.resolve("a")
        assert caught.value.retry_after_s is None, "waiting alone does not help"
        assert (await w.inference.infer(w.request("3", model="b"))).version == 1


async def test_begin_load_with_any_loader_error_ends_without_raising() -> None:
    async with world("a", "b", load=False) as w:
        w.loader.fail("a", NotReady("no"))
        w.loader.fail("b", RuntimeError("a foreign text with /a/path"))
        for name in "ab":
            async with asyncio.timeout(PATIENCE_S):
                await w.registry.begin_load(name)
            assert w.registry.status(name).state is UNAVAILABLE
        assert "/a/path" not in w.registry.status("b").reason


async def test_failed_model_can_be_loaded_again() -> None:
    async with world(load=False) as w:
        w.loader.fail("adder", NotReady("no"), NotReady("still no"))
        for reason in ("no", "still no"):
            with pytest.raises(NotReady, match=reason):
                await w.registry.load("adder")
        assert (await w.registry.load("adder")).state is READY
        assert w.registry.status("adder").reason == ""
        assert (await w.inference.infer(w.request("3"))).version == 1


async def test_listener_of_a_ready_model_finds_it_answering() -> None:
    async with world(load=False) as w:
        seen: list[tuple[ModelState, bool]] = []

        def listener(name: str, state: ModelState) -> None:
            try:
                w.registry.resolve(name)
            except NotReady:
                seen.append((state, False))
            else:
                seen.append((state, True))

        w.registry.on_change.append(listener)
        await w.registry.load("adder")
        await w.registry.unload("adder")
        assert seen == [(LOADING, False), (READY, True), (UNLOADING, False), (UNAVAILABLE, False)]


# ── unloading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unload_frees_the_network_and_leaves_a_reason() -> None:
    async with world() as w:
        runtime = w.runtime()
        done = await w.registry.unload("adder")
        status = done.status
        assert (status.state, status.reason) == (UNAVAILABLE, "unloaded")
        assert (done.freed_bytes, done.held_bytes) == (4096, 4096)
        assert (status.versions, status.runtime) == ((), None)
        assert status.ever_loaded
        assert runtime.freed
        assert w.sample("zoo_model_memory_bytes", model="adder", version="1") == 0
        assert w.metrics.get_sample_value("zoo_queue_depth", {"model": "adder", "version": "1"}) is None
        assert not w.scheduler._networks
        with pytest.raises(NotReady, match="unavailable: unloaded"):
            w.registry.resolve("adder")


async def test_unload_of_an_unloaded_model_changes_nothing() -> None:
    async with world(load=False) as w:
        done = await w.registry.unload("adder")
        assert (done.status.state, done.freed_bytes, done.held_bytes) == (UNAVAILABLE, 0, 0)
        assert w.moves == []


async def test_unload_waits_for_rows_in_flight() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(w.inference.infer(w.request("1", "2", "3", "4", "5")))
        await until(lambda: w.runtime().batches)
        unloading = asyncio.create_task(w.registry.unload("adder"))
        await until(lambda: w.registry.status("adder").state is UNLOADING)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not unloading.done()
        assert not w.runtime().freed
        w.runtime().gate.set()
        assert len((await inside).predictions) == 5
        assert (await unloading).status.state is UNAVAILABLE
        assert w.runtime().freed


async def test_unload_whose_caller_leaves_continues() -> None:
    async with world() as w:
        runtime = w.runtime()
        runtime.gate.clear()
        inside = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: runtime.batches)
        unloading = asyncio.create_task(w.registry.unload("adder"))
        await until(lambda: w.registry.status("adder").state is UNLOADING)
        unloading.cancel()
        await asyncio.wait([unloading])
        runtime.gate.set()
        await inside
        await until(lambda: w.registry.status("adder").state is UNAVAILABLE)
        assert runtime.freed


async def test_loading_model_cannot_be_unloaded() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        loading = asyncio.create_task(w.registry.load("adder"))
        await until(lambda: w.loader.loads["adder"])
        with pytest.raises(IllegalMove, match="LOADING"):
            await w.registry.unload("adder")
        w.loader.gate.set()
        assert (await loading).state is READY


async def test_unloading_model_can_be_neither_loaded_nor_unloaded() -> None:
    async with world() as w:
        w.runtime().gate.clear()
        inside = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: w.runtime().batches)
        unloading = asyncio.create_task(w.registry.unload("adder"))
        await until(lambda: w.registry.status("adder").state is UNLOADING)
        with pytest.raises(IllegalMove, match="UNLOADING"):
            await w.registry.load("adder")
        with pytest.raises(IllegalMove, match="UNLOADING"):
            await w.registry.unload("adder")
        with pytest.raises(NotReady, match="being unloaded"):
            w.registry.resolve("adder")
        w.runtime().gate.set()
        await asyncio.gather(inside, unloading)


async def test_unloaded_model_can_be_loaded_again() -> None:
    async with world() as w:
        first = w.runtime()
        for _ in range(3):
            await w.registry.unload("adder")
            await w.registry.load("adder")
        assert w.runtime() is not first
        reply = await w.inference.infer(w.request("3"))
        assert reply.predictions[0].tensors["y"].tolist() == [7]  # type: ignore[union-attr]
        assert w.sample("zoo_queue_depth", model="adder", version="1") == 0
        assert w.sample("zoo_model_memory_bytes", model="adder", version="1") == 4096


async def test_unload_with_an_abandoned_batch_does_not_wait_for_it() -> None:
    async with world() as w:
        runtime = w.runtime()
        runtime.gate.clear()
        gone = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: runtime.batches)
        gone.cancel()
        await asyncio.wait([gone])
        async with asyncio.timeout(PATIENCE_S):
            await w.registry.unload("adder")
        runtime.gate.set()
        await w.registry.load("adder")
        assert (await w.inference.infer(w.request("2"))).version == 1


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unknown_model_is_refused_with_near_names() -> None:
    async with world("efficientnet_lite0", "silero_vad", load=False) as w:
        for ask in (w.registry.resolve, w.registry.status, w.registry.begin_load):
            with pytest.raises(
                NotFound, match=r"unknown model 'eficientnet'; did you mean 'efficientnet_lite0'\?"
            ) as e:
                ask("eficientnet")
            assert e.value.near == ("efficientnet_lite0",)
        for move in (w.registry.load, w.registry.unload):
            with pytest.raises(NotFound, match="silero_vad"):
                await move("silero")


async def test_unknown_name_without_a_near_one_lists_all_models() -> None:
    async with world("alpha", "beta", load=False) as w:
        with pytest.raises(NotFound, match="models are alpha, beta"):
            w.registry.resolve("qqqqqqqq")


async def test_unknown_name_of_great_length_is_shortened_in_the_error() -> None:
    async with world() as w:
        for ask in (lambda: w.registry.resolve("x" * 10_000_000), lambda: w.registry.resolve("adder", "9" * 1_000_000)):
            with pytest.raises(NotFound) as caught:
                ask()
            assert len(caught.value.message) < 300


@pytest.mark.parametrize("version", ["2", "0", "-1", "01", "1.0", "latest", " ", "1 ", "١"])
async def test_unknown_version_is_refused_with_the_known_ones(version: str) -> None:
    async with world() as w:
        for ask in (w.registry.resolve, w.registry.status):
            with pytest.raises(NotFound, match="has version 1, which is 'stable'"):
                ask("adder", version)


async def test_unknown_version_of_an_unloaded_model_is_refused() -> None:
    async with world(load=False) as w:
        with pytest.raises(NotFound, match="unknown version"):
            w.registry.resolve("adder", "7")


async def test_statuses_are_in_order_of_name() -> None:
    async with world("b", "c", "a", load=False) as w:
        assert [status.name for status in w.registry.statuses()] == ["a", "b", "c"]


async def test_close_cancels_a_load_without_waiters() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        task = w.registry.begin_load("adder")
        await until(lambda: w.loader.loads["adder"])
        await w.registry.close()
        w.loader.gate.set()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities belong to threads on Linux only")
async def test_load_thread_has_a_lower_priority_than_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(load=False) as w:
        load, priorities = w.loader.load, list[int]()

        def watched(card: Card) -> Loaded:
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return load(card)

        monkeypatch.setattr(w.loader, "load", watched)
        await w.registry.load("adder")
        assert [priority > NICENESS for priority in priorities] == [True]

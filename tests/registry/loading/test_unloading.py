"""Versions are unloaded once their rows in flight are answered."""

import asyncio

import pytest

from service.errors import IllegalMove, NotReady
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from tests.support.registry.fakes import PATIENCE_S, World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio
LOADING, READY, UNLOADING, UNAVAILABLE = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNLOADING,
    ModelState.UNAVAILABLE,
)
SIZES = {"a": 40, "b": 40, "c": 40}


def ready(w: World) -> str:
    return "".join(status.name for status in w.registry.statuses() if status.state is READY)


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


async def test_unload_whose_free_fails_still_removes_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=100)) as w:
        for name in "ab":
            await w.registry.load(name)

        def breaks() -> None:
            raise RuntimeError("a pipe that is closed")

        monkeypatch.setattr(w.runtime("a"), "free", breaks)
        await w.registry.load("c")
        assert ready(w) == "bc"
        await w.registry.load("a")
        assert ready(w) == "ac"

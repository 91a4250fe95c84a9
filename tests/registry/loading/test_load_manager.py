"""Loads for users and for calls."""

import asyncio
from pathlib import Path

import pytest

from service.errors import DeadlineExceeded, MemoryFull, NotFound, NotReady
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from tests.support.registry.fakes import PATIENCE_S, World, world
from tests.support.registry.tuned_worlds import ask, grow, served
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio
LOADING, READY, UNLOADING, UNAVAILABLE = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNLOADING,
    ModelState.UNAVAILABLE,
)
SIZES = {"a": 40, "b": 40, "c": 40}


def state_metric(w: World, model: str) -> dict[str, float]:
    return {str(state): w.sample("zoo_model_state", model=model, state=str(state)) for state in ModelState}


def ready(w: World) -> str:
    return "".join(status.name for status in w.registry.statuses() if status.state is READY)


async def call(w: World, model: str, **how: float) -> float:
    reply = await w.inference.infer(w.request("3", model=model, **how))
    return float(reply.predictions[0].tensors["y"][0])  # type: ignore[union-attr]


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


async def test_unload_of_a_tuned_model_unloads_all_versions(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        done = await w.registry.unload("mood")
        assert done.status.state is UNAVAILABLE
        assert {v.state for v in w.registry.versions("mood")} == {UNAVAILABLE}
        with pytest.raises(NotReady, match="version 2 of model 'mood' is unavailable: unloaded"):
            await ask(w, "mood")
        await w.registry.load("mood")
        assert await ask(w, "mood") == (2, 6.0)


async def test_close_cancels_a_load_without_waiters() -> None:
    async with world(load=False) as w:
        w.loader.gate.clear()
        task = w.registry.begin_load("adder")
        await until(lambda: w.loader.loads["adder"])
        await w.registry.close()
        w.loader.gate.set()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_evicted_model_is_loaded_again_at_a_call() -> None:
    async with world(mib=SIZES, ledger=Ledger(budget_mib=100)) as w:
        assert ready(w) == "bc"
        assert await call(w, "a") == 7
        assert ready(w) == "ac"
        assert w.loader.loads["a"] == 2


async def test_callers_of_an_unloaded_model_share_one_load() -> None:
    async with world(load=False, on_demand=True) as w:
        w.loader.gate.clear()
        calls = [asyncio.create_task(call(w, "adder")) for _ in range(20)]
        await until(lambda: w.loader.loads["adder"])
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in calls)
        w.loader.gate.set()
        assert await asyncio.gather(*calls) == [7] * 20
        assert w.loader.loads["adder"] == 1


async def test_calls_to_more_models_than_fit_are_all_answered() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=50), on_demand=True) as w:
        calls = [call(w, name) for _ in range(5) for name in "abc"]
        assert await asyncio.gather(*calls) == [7] * 15
        assert len(ready(w)) == 1


async def test_call_to_an_evicted_model_waits_for_busy_models_until_its_deadline() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=50), on_demand=True) as w:
        await w.registry.load("a")
        w.runtime("a").gate.clear()
        inside = asyncio.create_task(call(w, "a"))
        await until(lambda: w.runtime("a").batches)
        with pytest.raises(DeadlineExceeded, match="waiting for memory"):
            await call(w, "b", deadline=asyncio.get_running_loop().time() + 0.01)
        patient = asyncio.create_task(call(w, "b"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not patient.done()
        w.runtime("a").gate.set()
        assert await inside == await patient == 7
        assert ready(w) == "b"


async def test_caller_past_its_deadline_is_refused_and_the_load_continues() -> None:
    async with world(load=False, on_demand=True) as w:
        w.loader.gate.clear()
        with pytest.raises(DeadlineExceeded, match="while the model was loading"):
            await call(w, "adder", deadline=asyncio.get_running_loop().time() + 0.01)
        assert w.sample("zoo_rejected_total", model="adder", version="", reason="deadline") == 1
        w.loader.gate.set()
        assert await call(w, "adder") == 7
        assert w.loader.loads["adder"] == 1


async def test_call_without_a_deadline_waits_for_the_model_default() -> None:
    async with world(load=False, on_demand=True) as w:
        w.registry.set_options("adder", {"default_timeout_ms": 10})
        w.loader.gate.clear()
        with pytest.raises(DeadlineExceeded, match="while the model was loading"):
            await call(w, "adder")


async def test_load_whose_first_caller_leaves_continues_for_others() -> None:
    async with world(load=False, on_demand=True) as w:
        w.loader.gate.clear()
        leaver, stayer = (asyncio.create_task(call(w, "adder")) for _ in range(2))
        await until(lambda: w.loader.loads["adder"])
        leaver.cancel()
        await asyncio.wait([leaver])
        w.loader.gate.set()
        assert await stayer == 7


async def test_call_without_on_demand_does_not_load_a_never_loaded_model() -> None:
    async with world(load=False) as w:
        with pytest.raises(NotReady, match="not loaded"):
            await call(w, "adder")
        assert w.loader.loads["adder"] == 0


async def test_call_to_a_model_without_local_files_does_not_load_it() -> None:
    async with world(load=False, on_demand=True, is_here=lambda card: False) as w:
        with pytest.raises(NotReady, match="not loaded"):
            await call(w, "adder")
        assert w.loader.loads["adder"] == 0


async def test_model_unloaded_by_hand_is_not_loaded_at_a_call() -> None:
    async with world(on_demand=True) as w:
        await w.registry.unload("adder")
        with pytest.raises(NotReady, match="unavailable: unloaded"):
            await call(w, "adder")
        await w.registry.load("adder")
        assert await call(w, "adder") == 7


async def test_failed_model_is_not_loaded_again_at_a_call() -> None:
    async with world(load=False, on_demand=True) as w:
        w.loader.fail("adder", NotReady("the golden check failed"))
        with pytest.raises(NotReady, match="could not be loaded: the golden check failed"):
            await call(w, "adder")
        with pytest.raises(NotReady, match="unavailable: the golden check failed"):
            await call(w, "adder")
        assert w.loader.loads["adder"] == 1


async def test_call_without_memory_is_refused_and_admitted_once_there_is_memory() -> None:
    async with world(mib=SIZES, ledger=Ledger(budget_mib=50), load=False, on_demand=True) as w:
        await w.registry.load("b")
        w.registry.set_options("b", {"pinned": True})
        moves = len(w.moves)
        for _ in range(2):
            with pytest.raises(MemoryFull, match="pinned: b"):
                await call(w, "a")
        assert w.sample("zoo_rejected_total", model="a", version="", reason="memory_full") == 2
        assert len(w.moves) == moves, "it was not even about to load"
        w.registry.set_options("b", {"pinned": False})
        assert await call(w, "a") == 7


async def test_call_to_an_unknown_name_or_version_loads_nothing() -> None:
    async with world(load=False, on_demand=True) as w:
        with pytest.raises(NotFound):
            await w.registry.acquire("addr")
        with pytest.raises(NotFound):
            await w.registry.acquire("adder", "7")
        assert w.loader.loads["adder"] == 0

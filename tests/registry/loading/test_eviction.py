"""The memory budget: which models are evicted, which stay, and which load fails."""

import asyncio

import pytest

from service.errors import DeadlineExceeded, MemoryFull, NotFound, NotReady
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from service.runtime.network import SharedPart
from service.settings import ModelOptions
from tests.support.registry_fakes import World, world
from tests.support.scheduler_fakes import Clock, until

pytestmark = pytest.mark.asyncio

READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE
SIZES = {"a": 40, "b": 40, "c": 40}


def ready(w: World) -> str:
    return "".join(status.name for status in w.registry.statuses() if status.state is READY)


async def call(w: World, model: str, **how: float) -> float:
    reply = await w.inference.infer(w.request("3", model=model, **how))
    return float(reply.predictions[0].tensors["y"][0])  # type: ignore[union-attr]


# ── victims ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_least_recently_used_model_is_evicted() -> None:
    clock = Clock()
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=100), clock=clock) as w:
        for name in "ab":
            await w.registry.load(name)
            clock.now += 1
        w.registry.resolve("a")
        clock.now += 1
        await w.registry.load("c")
        assert ready(w) == "ac"
        status = w.registry.status("b")
        assert (status.state, status.reason) == (UNAVAILABLE, "unloaded to make room for 'c'; a call brings it back")
        assert w.registry.ledger.total == 80 << 20


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


async def test_failing_ready_listener_leaves_the_model_serving() -> None:
    async with world("a", load=False) as w:
        ready_models: list[str] = []

        def errs(served: object) -> None:
            raise RuntimeError("a broken listener")

        w.registry.on_ready += [errs, lambda served: ready_models.append(served.name)]
        await w.registry.load("a")
        assert (ready(w), ready_models) == ("a", ["a"])
        assert await call(w, "a") == 7


async def test_load_that_fits_evicts_nothing() -> None:
    async with world(mib=SIZES, ledger=Ledger(budget_mib=120)) as w:
        assert ready(w) == "abc"


async def test_pinned_model_is_not_evicted() -> None:
    given = {"a": ModelOptions(pinned=True)}
    async with world(mib=SIZES, ledger=Ledger(budget_mib=100), given=given) as w:
        assert ready(w) == "ac"


async def test_model_in_use_is_not_evicted() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=100)) as w:
        for name in "ab":
            await w.registry.load(name)
        w.runtime("a").gate.clear()
        inside = asyncio.create_task(call(w, "a"))
        await until(lambda: w.runtime("a").batches)
        w.registry.resolve("b")
        await w.registry.load("c")
        assert ready(w) == "ac"
        w.runtime("a").gate.set()
        assert await inside == 7


async def test_model_in_half_precision_needs_half_the_memory() -> None:
    given = {"whale": ModelOptions(precision="bf16")}
    async with world(mib={**SIZES, "whale": 120}, load=False, ledger=Ledger(budget_mib=100), given=given) as w:
        w.loader.held_bytes["whale"] = 60 << 20
        await w.registry.load("a")
        await w.registry.load("whale")
        assert ready(w) == "awhale"


async def test_load_beyond_the_budget_is_refused_with_figures_and_evicts_nothing() -> None:
    async with world(mib={**SIZES, "whale": 101}, load=False, ledger=Ledger(budget_mib=100)) as w:
        for name in "ab":
            await w.registry.load(name)
        with pytest.raises(MemoryFull, match=r"'whale' needs 101.0 MiB of the memory budget of 100 MiB") as caught:
            await w.registry.load("whale")
        assert caught.value.retry_after_s is None, "waiting does not help"
        assert ready(w) == "ab"
        assert w.loader.loads["whale"] == 0
        assert w.registry.status("whale").reason == caught.value.message


async def test_memory_error_names_blocking_models_and_hints_at_retry_only_if_useful() -> None:
    given = {"a": ModelOptions(pinned=True)}
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=100), given=given) as w:
        for name in "ab":
            await w.registry.load(name)
        w.runtime("b").gate.clear()
        inside = asyncio.create_task(call(w, "b"))
        await until(lambda: w.runtime("b").batches)
        with pytest.raises(MemoryFull, match=r"80.0 MiB cannot be freed now \(pinned: a; in use: b\)") as caught:
            await w.registry.load("c")
        assert caught.value.retry_after_s == 1.0
        w.registry.set_options("b", {"pinned": True})
        with pytest.raises(MemoryFull, match=r"pinned: a, b") as caught:
            await w.registry.load("c")
        assert caught.value.retry_after_s is None
        w.runtime("b").gate.set()
        await inside
        w.registry.set_options("b", {"pinned": None})
        assert (await w.registry.load("c")).state is READY
        assert ready(w) == "ac"


async def test_model_larger_than_its_card_evicts_others_after_its_load() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=130)) as w:
        w.loader.held_bytes["c"] = 60 << 20
        for name in "abc":
            await w.registry.load(name)
        assert ready(w) == "bc"
        assert w.registry.ledger.total <= w.registry.ledger.budget


async def test_model_larger_than_the_budget_answers_and_later_loads_continue() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=100), on_demand=True, lanes=2) as w:
        await w.registry.load("a")
        w.runtime("a").gate.clear()
        inside = asyncio.create_task(call(w, "a"))
        await until(lambda: w.runtime("a").batches)
        w.loader.held_bytes["b"] = 70 << 20
        assert await call(w, "b") == 7
        assert w.registry.ledger.total == 110 << 20
        await w.registry.load("c")
        assert ready(w) == "ac"
        w.runtime("a").gate.set()
        assert await inside == 7


@pytest.mark.parametrize("shared_mib", [0, 38])
async def test_unload_in_progress_that_frees_enough_prevents_an_eviction(shared_mib: int) -> None:
    async with world(
        mib={"a": 40, "b": 40, "c": 10}, load=False, ledger=Ledger(budget_mib=115), on_demand=True, lanes=2
    ) as w:
        for name in "ac":
            await w.registry.load(name)
        if shared_mib:  # with a version that could come, and is not there
            w.runtime("a").shared = SharedPart("d" * 64, shared_mib << 20)  # type: ignore[attr-defined]
            w.registry.refresh("a")
        w.runtime("a").gate.clear()
        inside = asyncio.create_task(call(w, "a"))
        await until(lambda: w.runtime("a").batches)
        leaving = asyncio.create_task(w.registry.unload("a"))
        await until(lambda: w.registry.status("a").state is ModelState.UNLOADING)
        w.loader.held_bytes["b"] = 70 << 20
        assert await call(w, "b") == 7
        assert ready(w) == "bc"
        w.runtime("a").gate.set()
        await asyncio.gather(inside, leaving)
        assert w.registry.ledger.total == 80 << 20


async def test_load_waits_for_memory_of_an_unload_in_progress() -> None:
    async with world(mib=SIZES, load=False, ledger=Ledger(budget_mib=80)) as w:
        for name in "ab":
            await w.registry.load(name)
        w.runtime("a").gate.clear()
        inside = asyncio.create_task(call(w, "a"))
        await until(lambda: w.runtime("a").batches)
        leaving = asyncio.create_task(w.registry.unload("a"))
        await until(lambda: w.registry.status("a").state is ModelState.UNLOADING)
        loading = asyncio.create_task(w.registry.load("c"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not loading.done()
        w.runtime("a").gate.set()
        await asyncio.gather(inside, leaving, loading)
        assert ready(w) == "bc"


# ── reloads ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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

"""The memory budget: which models are evicted, which stay, and which load fails."""

import asyncio

import pytest

from service.errors import MemoryFull
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from service.runtime.network import SharedPart
from service.settings import ModelOptions
from tests.support.registry.fakes import World, world
from tests.support.scheduler.fakes import Clock, until

pytestmark = pytest.mark.asyncio

READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE
SIZES = {"a": 40, "b": 40, "c": 40}


def ready(w: World) -> str:
    return "".join(status.name for status in w.registry.statuses() if status.state is READY)


async def call(w: World, model: str, **how: float) -> float:
    reply = await w.inference.infer(w.request("3", model=model, **how))
    return float(reply.predictions[0].tensors["y"][0])  # type: ignore[union-attr]


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

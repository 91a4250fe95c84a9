"""Networks are loaded one after another, and announced once they answer."""

import asyncio
import os
import sys
import threading

import pytest

from model_zoo.cards.card import Card
from service.errors import NotReady
from service.registry.loading.loaded import Loaded
from service.registry.states import ModelState
from service.runtime.lanes.threads import NICENESS
from tests.support.registry.fakes import World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio
LOADING, READY, UNLOADING, UNAVAILABLE = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNLOADING,
    ModelState.UNAVAILABLE,
)


def ready(w: World) -> str:
    return "".join(status.name for status in w.registry.statuses() if status.state is READY)


async def call(w: World, model: str, **how: float) -> float:
    reply = await w.inference.infer(w.request("3", model=model, **how))
    return float(reply.predictions[0].tensors["y"][0])  # type: ignore[union-attr]


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


async def test_failing_ready_listener_leaves_the_model_serving() -> None:
    async with world("a", load=False) as w:
        ready_models: list[str] = []

        def errs(served: object) -> None:
            raise RuntimeError("a broken listener")

        w.registry.on_ready += [errs, lambda served: ready_models.append(served.name)]
        await w.registry.load("a")
        assert (ready(w), ready_models) == ("a", ["a"])
        assert await call(w, "a") == 7


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

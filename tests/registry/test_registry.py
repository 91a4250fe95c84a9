"""The order in which a registry reports its changes, and the order in which it ends its work.

Watchers, the health service and the metrics see changes in the order of these events. Work that a close ends first cannot start
work that it ends later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from service.engine.served_model import ServedModel
from service.observability.recorder import Recorder
from service.registry.loading.memory_ledger import Ledger
from service.registry.rollout.canary import Bounds
from service.registry.states import ModelState
from service.registry.versions.aliases import STABLE, AliasSet
from service.registry.versions.revisioned_aliases import RevisionedAliases
from tests.support.registry.fakes import FakeRuntime, World, world
from tests.support.registry.internals import begin_unload, use_versions, version_of
from tests.support.registry.tuned_versions import publish, report, with_tuned
from tests.support.registry.tuned_worlds import (
    SlowAliases,
    ask,
    grow,
    served,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

Events = list[tuple[object, ...]]

RECORDED = ("model_state", "model_gone", "model_loaded", "model_unloaded", "model_memory", "canary_rolled_back")
"""Metrics of models that a registry writes."""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    """The calls of the recorder, in order: the method, the model and its first figure."""
    calls: Events = []

    def recording(name: str) -> Callable[..., None]:
        method = getattr(Recorder, name)

        def record(self: Recorder, model: str, *rest: Any) -> None:
            calls.append((name, model, *(value for value in rest[:1] if isinstance(value, int | str))))
            method(self, model, *rest)

        return record

    for name in RECORDED:
        monkeypatch.setattr(Recorder, name, recording(name))
    return calls


def watch(w: World, events: Events) -> None:
    """Adds the calls of state and load listeners, from now on."""
    w.registry.on_change.append(lambda name, state: events.append(("on_change", name, str(state))))

    def ready(served: ServedModel) -> None:
        assert w.registry.serves(served), "a model is announced after it answers"
        events.append(("on_ready", served.name))

    w.registry.on_ready.append(ready)
    events.clear()


# ── notifications ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_registry_start_records_states_and_tells_no_watcher(events: Events) -> None:
    async with world("b", "a", load=False):
        assert events == [("model_state", "a", "UNAVAILABLE"), ("model_state", "b", "UNAVAILABLE")]


async def test_load_records_metrics_then_tells_watchers_then_announces_the_model(events: Events) -> None:
    async with world(load=False) as w:
        watch(w, events)
        await w.registry.load("adder")
        assert events == [
            ("model_state", "adder", "LOADING"),
            ("on_change", "adder", "LOADING"),
            ("model_loaded", "adder", 1),
            ("model_state", "adder", "READY"),
            ("on_change", "adder", "READY"),
            ("on_ready", "adder"),
        ]


async def test_failed_load_tells_watchers_and_announces_nothing(events: Events) -> None:
    async with world(load=False) as w:
        watch(w, events)
        w.loader.fail("adder", RuntimeError("broken"))
        await asyncio.wait([w.registry.begin_load("adder")])
        assert events == [
            ("model_state", "adder", "LOADING"),
            ("on_change", "adder", "LOADING"),
            ("model_state", "adder", "UNAVAILABLE"),
            ("on_change", "adder", "UNAVAILABLE"),
        ]


async def test_unload_tells_watchers_before_and_after_the_model_is_gone(events: Events) -> None:
    async with world() as w:
        watch(w, events)
        await w.registry.unload("adder")
        assert events == [
            ("model_state", "adder", "UNLOADING"),
            ("on_change", "adder", "UNLOADING"),
            ("model_unloaded", "adder", 1),
            ("model_state", "adder", "UNAVAILABLE"),
            ("on_change", "adder", "UNAVAILABLE"),
        ]


async def test_base_state_change_is_reported_before_those_of_its_heads(events: Events, tmp_path: Path) -> None:
    async with served(tmp_path, load=True) as w:
        await grow(w, tmp_path, "mood", 1.0)
        watch(w, events)
        await begin_unload(w, version_of(w, "adder"), "to make room")
        assert events == [
            ("model_state", "adder", "UNLOADING"),
            ("on_change", "adder", "UNLOADING"),
            ("model_state", "mood", "UNLOADING"),
            ("on_change", "mood", "UNLOADING"),
            ("model_unloaded", "adder", 1),
            ("model_state", "adder", "UNAVAILABLE"),
            ("on_change", "adder", "UNAVAILABLE"),
            ("model_state", "mood", "UNAVAILABLE"),
            ("on_change", "mood", "UNAVAILABLE"),
        ]
        events.clear()
        await ask(w, "mood")
        assert events == [
            ("model_state", "adder", "LOADING"),
            ("on_change", "adder", "LOADING"),
            ("model_state", "mood", "LOADING"),
            ("on_change", "mood", "LOADING"),
            ("model_loaded", "adder", 1),
            ("model_state", "adder", "READY"),
            ("on_change", "adder", "READY"),
            ("model_state", "mood", "READY"),
            ("on_change", "mood", "READY"),
            ("on_ready", "adder"),
        ]


async def test_published_version_loads_before_its_alias_moves_and_the_unnamed_one_goes_last(
    events: Events, tmp_path: Path
) -> None:
    async with served(tmp_path, load=True) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        watch(w, events)
        number = publish(tmp_path, "mood", 3.0, said=report(0.8, 0.5, (2, 0.7)))
        assert "is stable" in await w.registry.take("mood", number)
        await until(lambda: version_of(w, "mood", 1).state is ModelState.UNAVAILABLE)
        assert events == [("model_loaded", "mood", 3), ("model_unloaded", "mood", 1)]


async def test_first_version_of_a_model_is_recorded_without_telling_watchers(events: Events, tmp_path: Path) -> None:
    async with served(tmp_path, load=True) as w:
        watch(w, events)
        await grow(w, tmp_path, "mood", 1.0)
        assert events == [
            ("model_state", "mood", "UNAVAILABLE"),
            ("model_state", "mood", "LOADING"),
            ("on_change", "mood", "LOADING"),
            ("model_loaded", "mood", 1),
            ("model_state", "mood", "READY"),
            ("on_change", "mood", "READY"),
        ]


async def test_deleted_version_is_unloaded_before_its_model_is_removed(events: Events, tmp_path: Path) -> None:
    async with served(tmp_path, load=True) as w:
        await w.registry.take("mood", publish(tmp_path, "mood"), gated=False)
        watch(w, events)
        await w.registry.delete_version("mood", 1)
        assert events == [
            ("model_state", "mood", "UNLOADING"),
            ("on_change", "mood", "UNLOADING"),
            ("model_unloaded", "mood", 1),
            ("model_state", "mood", "UNAVAILABLE"),
            ("on_change", "mood", "UNAVAILABLE"),
            ("model_gone", "mood"),
        ]


async def test_canary_out_of_bounds_loses_its_share_before_anything_is_written(events: Events, tmp_path: Path) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage, load=True, bounds=Bounds(least_calls=4, least_errors=3)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await w.registry.set_traffic("mood", 2, 0.5)
        watch(w, events)
        storage.may_write.clear()
        observe = w.registry.resolve("mood", "2").on_outcome
        assert observe is not None
        for _ in range(4):
            observe(True, 0.01)
        assert events == [("canary_rolled_back", "mood")]
        assert w.registry.traffic("mood").canary_share == 0.0
        assert storage.stored["mood"].aliases.canary_share == 0.5
        assert w.registry.resolve("mood", "2").on_outcome is None, "it is compared no more"
        storage.may_write.set()
        await until(lambda: storage.stored["mood"].aliases.canary_share == 0.0)


async def test_eviction_reports_the_victim_before_the_loaded_model(events: Events) -> None:
    async with world("b", mib={"a": 60, "c": 60}, load=False, ledger=Ledger(budget_mib=100)) as w:
        await w.registry.load("a")
        watch(w, events)
        await w.registry.load("c")
        assert [event for event in events if event[0] != "on_change"] == [
            ("model_state", "c", "LOADING"),
            ("model_state", "a", "UNLOADING"),
            ("model_unloaded", "a", 1),
            ("model_state", "a", "UNAVAILABLE"),
            ("model_loaded", "c", 1),
            ("model_state", "c", "READY"),
            ("on_ready", "c"),
        ]


async def test_head_that_needs_fp32_reports_its_runtime_first_and_last(events: Events, tmp_path: Path) -> None:
    """The runtime `adder@fp32` exists before the head is READY, and goes after the head."""

    class Reduced(FakeRuntime):
        precision = "bf16"

        def run(self, tensors: Any) -> Any:
            return {"y": -super().run(tensors)["y"]}

    async with world() as w:
        with_tuned(w, tmp_path)
        use_versions(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        watch(w, events)
        await w.registry.add_version("mood", publish(tmp_path, "mood"))
        await w.registry.unload("mood")
        await until(lambda: [s.name for s in w.registry.statuses()] == ["adder", "mood"])
        assert [event for event in events if event[0] not in ("on_change", "model_memory")] == [
            ("model_state", "mood", "UNAVAILABLE"),
            ("model_state", "mood", "LOADING"),
            ("model_state", "adder@fp32", "UNAVAILABLE"),
            ("model_state", "adder@fp32", "LOADING"),
            ("model_loaded", "adder@fp32", 1),
            ("model_state", "adder@fp32", "READY"),
            ("on_ready", "adder@fp32"),
            ("model_loaded", "mood", 1),
            ("model_state", "mood", "READY"),
            ("model_state", "adder@fp32", "UNLOADING"),
            ("model_state", "mood", "UNLOADING"),
            ("model_unloaded", "adder@fp32", 1),
            ("model_unloaded", "mood", 1),
            ("model_state", "mood", "UNAVAILABLE"),
            ("model_state", "adder@fp32", "UNAVAILABLE"),
            ("model_gone", "adder@fp32"),
        ]


# ── closing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class WatchedTask(asyncio.Task[Any]):
    """A task that notes when it is cancelled."""

    cancelled_names: list[str]

    def cancel(self, msg: Any | None = None) -> bool:
        self.cancelled_names.append(self.get_name())
        return super().cancel(msg)


@pytest_asyncio.fixture
async def cancelled() -> Any:
    """The names of the cancelled tasks, in order."""
    names: list[str] = []
    loop = asyncio.get_running_loop()

    def make(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **rest: Any) -> asyncio.Task[Any]:
        task = WatchedTask(work, loop=loop, **rest)
        task.cancelled_names = names
        return task

    loop.set_task_factory(cast(Any, make))
    yield names
    loop.set_task_factory(None)


async def test_close_ends_looks_then_what_follows_from_them_then_memory_work_then_loads(
    cancelled: list[str], tmp_path: Path
) -> None:
    storage = SlowAliases()
    never = asyncio.Event()
    now = time.monotonic()  # a clock that stands: the look that a caller asks for waits until the test ends

    async def sleep(seconds: float) -> None:
        await never.wait()

    async with served(tmp_path, storage, ledger=Ledger(budget_mib=128), sleep=sleep, clock=lambda: now, load=True) as w:
        await grow(w, tmp_path, "mood", 1.0)
        w.registry.follow(2.0)
        looking = asyncio.create_task(w.registry.seek("unknown"), name="caller")
        publish(tmp_path, "own", method="full")
        storage.stored["own"] = RevisionedAliases(AliasSet({STABLE: 1}), 1)  # as another server leaves it
        w.loader.gate.clear()
        await w.registry.look()
        await until(lambda: w.loader.loads["own"])
        w.runtime("adder").held_bytes = 129 << 20
        w.registry.refresh("adder")
        storage.may_write.clear()
        writing = asyncio.create_task(w.registry.set_alias("mood", "own", 1), name="writer")
        asked = storage.writes
        await until(lambda: storage.writes > asked)
        cancelled.clear()
        closing = asyncio.create_task(w.registry.close(), name="close")
        await until(lambda: "load-own:1" in cancelled)
        assert [name for name in cancelled if name not in ("caller", "writer", "close")] == [
            "follow",
            "look",
            "load own:1",
            "budget-adder",
            "load-own:1",
        ]
        assert not closing.done(), "a change that is being written is written to its end"
        storage.may_write.set()
        await closing
        assert storage.stored["mood"].aliases.targets["own"] == 1
        await asyncio.wait([looking, writing])

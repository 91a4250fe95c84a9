"""One model is loaded, asked and unloaded many times, and the process is as it was: memory, threads, metrics, objects.

It happens in a process of its own, whose allocator is set as the server sets it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.inference import Inference
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.registry.composition import build_registry
from service.registry.loading.loaded import Loaded
from service.registry.loading.loader import Loader
from service.registry.loading.memory_ledger import Ledger
from service.registry.options import defaults_for
from service.runtime.allocator import keep_freed_memory
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import Lanes
from service.runtime.memory import memory_reading, trimmed_bytes
from service.scheduler.scheduler import DeviceScheduler
from service.settings import Settings
from service.types import InferRequest, SamplesInstance
from tests.support.registry.fakes import PATIENCE_S

NAME = "silero_vad"
TIMES, FIRST = 25, 5
"""The first few fill caches: libraries, kernels, the interpreter's free lists."""


@pytest.mark.weights
@pytest.mark.timeout(1200)
def test_many_loads_and_unloads_leave_no_memory_behind(zoo_home: Path, served: Callable[[str], object]) -> None:
    served(NAME)  # fetches the weights, or skips
    if trimmed_bytes() is None:
        pytest.skip("this system does not say what the process holds")
    repository = Path(__file__).parents[3]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
    done = subprocess.run(
        [sys.executable, __file__, str(zoo_home)],
        env=environment | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    # A network that leaked at each load would leave many times its weights. Pages that are only partly free, and what
    # the interpreter keeps, come to some hundreds of kilobytes; all of it may not come to the weights of a single one.
    assert figures["grown"] < figures["weights"], figures
    # Each of the readings is off by pages that are partly free, a tenth of so small a network.
    assert figures["freed"] > 0.75 * figures["held"], "what was held came back"
    assert figures["threads"] == [], "threads that were not there after the first loads"
    assert figures["series"] == [], "metrics that were not there after the first loads"
    assert figures["shown"] == [], "metrics of a loaded model"
    assert figures["alive"] == [], "objects that the collector would have to find"


class Remembering(Loader):
    """The real loader, with weak references to the objects that it created."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.made: list[weakref.ref[object]] = []
        self._loop, self._lost = asyncio.get_running_loop(), asyncio.Event()

    async def wait_until_gone(self) -> None:
        """Waits until nothing holds the objects, at most `PATIENCE_S`. Threads that have given their results may hold the last
        ones for a moment; only the collector, which is not called, would find objects of a cycle."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while any(made() is not None for made in self.made):
                    await self._lost.wait()
                    self._lost.clear()

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        loaded = super().load(card)
        for made in (loaded.runtime, loaded.runtime._network, loaded.task):
            self.made.append(weakref.ref(made, lambda _: self._loop.call_soon_threadsafe(self._lost.set)))
        return loaded


async def many_times(home: Path) -> dict[str, Any]:
    full = Catalog.from_package().get(NAME)
    # Inputs of two seconds at most make the checks at each load quick. The result of the checks does not matter here.
    short = full.batching.model_copy(update={"max_length": 32_000})
    card = full.model_copy(update={"golden": full.golden[1:2], "batching": short})
    metrics, settings = CollectorRegistry(), Settings(optimize="off")
    recorder = Recorder(Metrics(metrics), Statistics())
    scheduler = DeviceScheduler(asyncio.get_running_loop())
    lanes = Lanes(DevicePlan("cpu", 1, 1), scheduler.next_job)
    loader = Remembering(Store(home), "cpu", True, lambda model: lambda done, total, what: None)
    ledger = Ledger(memory_reading("cpu"))
    registry = build_registry(
        {NAME: card}, lambda card: defaults_for(settings, "cpu", card), loader, scheduler, recorder, ledger=ledger
    )
    pool = ThreadPoolExecutor(1, "preprocess")
    inference = Inference(registry, pool, recorder)
    silence = InferRequest(NAME, "", "r", [SamplesInstance(np.zeros(512, np.float32), 16_000)])
    held, freed, weights = 0, 0, 0

    async def once() -> None:
        nonlocal held, freed, weights
        runs = (await registry.load(NAME)).runtime
        assert runs is not None
        assert len((await inference.infer(silence)).predictions) == 1
        unloaded = await registry.unload(NAME)
        assert unloaded.held_bytes == runs.memory_bytes
        held, freed, weights = held + unloaded.held_bytes, freed + unloaded.freed_bytes, runs.weights_bytes

    lanes.start()
    for _ in range(FIRST):
        await once()
    threads, series, before = threads_now(), series_of(metrics), trimmed_bytes() or 0
    held, freed = 0, 0
    for _ in range(TIMES):
        await once()
    for thread in threading.enumerate():
        if thread.name not in threads:  # it has given its result, and ends
            thread.join(PATIENCE_S)
    await loader.wait_until_gone()
    figures = {
        "grown": (trimmed_bytes() or 0) - before,
        "weights": weights,
        "held": held,
        "freed": freed,
        "threads": sorted(threads_now() - threads),
        "series": sorted(series_of(metrics) - series),
        "shown": [s for s in series_of(metrics) if s.startswith(("zoo_model_memory_bytes", "zoo_queue_depth"))],
        "alive": [kind.__name__ for made in loader.made if (kind := type(made())) is not type(None)],
    }
    scheduler.stop()
    lanes.join(PATIENCE_S)
    pool.shutdown()
    return figures


def threads_now() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def series_of(metrics: CollectorRegistry) -> set[str]:
    return {f"{s.name}{sorted(s.labels.items())}" for family in metrics.collect() for s in family.samples}


if __name__ == "__main__":
    keep_freed_memory()
    print(json.dumps(asyncio.run(many_times(Path(sys.argv[1])))))

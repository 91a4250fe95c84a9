"""Loading networks: one after another, each in a thread of its own, measured, and announced once it answers.

The thread is a daemon: a download that stalls must not keep the process from ending.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from service.engine.served_model import ServedModel
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.background import in_daemon
from service.registry.loading.eviction import Evictor
from service.registry.loading.loaded import Loaded, ModelLoader
from service.registry.loading.loads import recording_failure
from service.registry.loading.memory_ledger import Ledger, Measurement
from service.registry.loading.served_heads import HeadServer
from service.registry.loading.unloading import Unloader
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion, queue_depth
from service.registry.options import limits_of
from service.registry.states import ModelState
from service.runtime.lanes.threads import LOADING_NICENESS, lower_priority
from service.scheduler.scheduler import DeviceScheduler

log = logger(__name__)


class NetworkLoader:
    """Loads versions that have a network of their own. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        loader: ModelLoader,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        ledger: Ledger,
        evictor: Evictor,
        unloader: Unloader,
        head_server: HeadServer,
        *,
        on_demand: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_demand`: a call loads every model that was loaded once."""
        self._table = table
        self._loader = loader
        self._scheduler = scheduler
        self._recorder = recorder
        self._ledger = ledger
        self._evictor = evictor
        self._unloader = unloader
        self._head_server = head_server
        self._on_demand = on_demand
        self._clock = clock
        self.on_ready: list[Callable[[ServedModel], None]] = []
        """Called on the loop after a network has begun to answer."""

    async def load(self, version: ModelVersion) -> None:
        """Loads a version that is LOADING; a failure is kept with the version and never raised."""
        async with self._evictor.lock:
            with recording_failure(self._table, version):
                await self._evictor.make_room(version)
                loaded, growth, libraries = await self._measured_load(version)
                self._enter(version, loaded, growth, libraries)
            if version.state is ModelState.READY:
                await self._evictor.keep_to_budget(version)

    async def _measured_load(self, version: ModelVersion) -> tuple[Loaded, int | None, bool]:
        """The network, the growth of the device's reading, and whether libraries were imported meanwhile."""
        thread = f"load-{version.key}"
        measurement = await in_daemon(partial(Measurement, self._ledger), thread)
        try:
            loaded = await in_daemon(partial(_gently, self._load_of(version)), thread)
        finally:  # in another thread: the stack of the load is not the model's memory
            growth = await in_daemon(measurement.end, thread)
        return loaded, growth, measurement.libraries

    def _load_of(self, version: ModelVersion) -> Callable[[], Loaded]:
        """A call that loads a version's network. It blocks."""
        if version.fp32_of:
            return partial(self._loader.load, version.card, "fp32")
        return partial(self._loader.load, version.card)

    def _enter(self, version: ModelVersion, loaded: Loaded, growth: int | None, libraries: bool) -> None:
        """Puts a loaded network into the ledger and into service."""
        version.served = served = ServedModel(
            version.card,
            version.number,
            loaded.task,
            loaded.runtime,
            limits_of(version.options),
            self._scheduler,
            self._recorder,
            loaded.reference,
            loaded.golden,
            name=version.name,
            record=version.check_record,
        )
        served.decisions, served.note = loaded.decisions, loaded.note
        for timing in loaded.timings:
            served.learn(*timing)
        version.load_s, version.last_used = loaded.load_s, self._clock()
        version.reloads_on_call = self._on_demand or version.published is not None
        runtime = loaded.runtime
        held = self._ledger.loaded(
            version.key, runtime.memory_bytes, growth, libraries, runtime.shared, runtime.precision
        )
        # The gauge reads through the version: it refers to itself, and a model to which it refers would wait for the collector.
        self._recorder.model_loaded(
            version.name, version.number, loaded.load_s, held.total, lambda: queue_depth(version)
        )
        unchecked = [head for head in version.heads if not head.holds_on(runtime)]
        for head in version.heads:
            if head.head is not None and head not in unchecked:
                head.served = self._head_server.serve(head, head.head)
        self._table.move(version, ModelState.READY, "")
        for head in unchecked:
            reason = "its base has another runtime than before; the next call checks it again"
            self._unloader.begin(head, reason, reloads_on_call=True)
        log.info(
            "model is ready",
            model=version.name,
            version=version.number,
            seconds=round(loaded.load_s, 2),
            bytes=held.total,
            weights_bytes=held.weights,
            growth_bytes=growth,
        )
        for listener in self.on_ready:
            try:
                listener(served)
            except Exception:  # the model answers, whatever a listener does
                log.exception(
                    "a listener failed after a model became ready", model=version.name, version=version.number
                )

    def reweigh(self, name: str) -> None:
        """Measures the runtimes of a model again, after another one was swapped in. Harmless for a model that is not loaded."""
        record = self._table.record(name)
        for version in record.versions.values():
            if isinstance(version.served, ServedModel) and self._ledger.holding(version.key) is not None:
                runtime = version.served.runtime
                held = self._ledger.reweighed(version.key, runtime.memory_bytes, runtime.shared)
                self._recorder.model_memory(name, version.number, held.total)
                for head in version.heads:
                    self._table.refresh(self._table.record(head.name))
                self._evictor.restore_budget(version)
        self._table.refresh(record)


def _gently(load: Callable[[], Loaded]) -> Loaded:
    """Loads at a low priority. The thread ends with the load, but threads that libraries start meanwhile keep the priority:
    threads of scipy's BLAS were seen, which nothing that serves uses."""
    lower_priority(LOADING_NICENESS)
    return load()

"""Composition root: startup → serve → drain. Constructs the server's parts, with `grpc_port.py`, `startup.py` and
`fine_tuning.py`.

startup   settings checked, ports bound, LIVE; models load in the background, not READY
serve     READY once every requested model has loaded or failed, and at least one answers
drain     on SIGTERM or SIGINT: not READY, then new work is refused, then requests in flight are answered, then the process ends
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from model_zoo.catalog import Catalog
from model_zoo.live_catalog import LiveCatalog
from model_zoo.sources.artifact_source import Progress
from model_zoo.store import Store
from model_zoo.versions import Versions
from service import __version__, banner
from service.access.exposure import check_exposure
from service.access.tls import tls_of
from service.access_control import AccessControl
from service.addresses import host_and_port
from service.database import Database
from service.errors import ZooError
from service.fine_tuning import FineTuning
from service.grpc_port import SERVICES, GrpcPort
from service.inference import Inference
from service.observability.log import configure, logger
from service.observability.metrics import Metrics, registry_with_process_metrics
from service.observability.recorder import Recorder
from service.observability.request_log import RequestLog
from service.observability.standard_streams import flush, lost
from service.observability.statistics import Statistics
from service.registry.composition import build_registry
from service.registry.loading.loaded import ModelLoader
from service.registry.loading.loader import HEADS_BYTES, Loader
from service.registry.loading.memory_ledger import Ledger
from service.registry.options import defaults_for
from service.registry.registry import Registry
from service.registry.states import ModelState
from service.registry.versions.alias_store import AliasStore
from service.runtime.allocator import keep_freed_memory
from service.runtime.compilers.compiler import compiler_for
from service.runtime.device import DevicePlan, limit_threads, memory_readers
from service.runtime.free_memory import free_bytes
from service.runtime.heads import HeadPool
from service.runtime.lanes.processes import LaneProcesses, should_use_processes
from service.runtime.lanes.threads import LOADING_NICENESS, Lanes, lower_priority
from service.runtime.memory import memory_reading, resident_bytes, trim_heap
from service.runtime.onnx_session import threads_for
from service.runtime.precision import has_instructions, load_precision
from service.scheduler.scheduler import DeviceScheduler
from service.settings import Settings, usable_memory_bytes
from service.startup import (
    allow_files,
    check_models,
    check_options,
    check_shared_memory,
    device_plan,
    open_database,
    open_http,
    open_traces,
    warn_of_service_variables,
)
from service.tiering.tier_manager import TierManager
from service.wire.frontend.wiring import is_supported
from service.wire.health import Health
from service.wire.transport import server_credentials

log = logger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""How long one thread may hold the interpreter lock while another waits for it. A lane takes the lock for some microseconds after
every operation of a network; with Python's default of 5 ms a busy event loop delays every lane."""
COLLECTION = (10_000, 20, 50)
"""Thresholds of the garbage collector. A call creates hundreds of objects and frees them all; with Python's default of 700 the
collector took an eighth of the event loop's time under small calls."""
HEALTH_NOTICE_S = 2.0
"""Timeout for the notice to watchers of the health service that the server drains."""
LAST_REPLIES_S = 5.0
"""Time for the last replies to be sent and for open streams to end, after the last request is answered."""
LAST_SPANS_S = 2.0
"""Time for the last spans to reach their collector."""
TIERING_ENDS_S = 1.0
"""Time for a compilation that was ended to remove its files; what remains, a later server removes."""


def run(settings: Settings, catalog: Catalog | None = None, loader: ModelLoader | None = None) -> None:
    """Serves until SIGTERM or SIGINT, drains, and ends the process with exit code 0. Does not return. See Server.

    Raises SettingsError before anything listens if a setting cannot be met.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the preprocess pool uses the cores already
    configure(settings.log_level, settings.log_format)
    warn_of_service_variables(settings)
    keep_freed_memory()
    allow_files()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(Server(settings, catalog, loader).run())
    # A thread that loads or times a network may be in native code. If it returns while the interpreter shuts down, it aborts the
    # process. All work is finished here, so the process ends without the interpreter's shutdown.
    logging.shutdown()
    flush()
    os._exit(0)


class Server:
    """The server's parts and their life cycle. Construct, then call `run` once."""

    def __init__(self, settings: Settings, catalog: Catalog | None = None, loader: ModelLoader | None = None) -> None:
        """Checks the settings as far as possible without opening a port. Raises SettingsError.

        `catalog` and `loader` replace the zoo's own, for a network that no card describes.
        """
        self._settings = settings
        check_exposure(settings)
        self._tls = tls_of(settings)
        self._catalog = LiveCatalog.of_home(settings.home) if catalog is None else LiveCatalog(catalog)
        known = self._catalog.current
        for name, reason in known.damaged.items():
            log.error("a card of the catalog is damaged and is left out", model=name, reason=reason)
        self._wanted = check_models(settings.models, known)
        check_options(settings, known)
        check_shared_memory(settings)
        self._plan = device_plan(settings)
        self._store = Store(settings.home)
        self._versions = Versions(settings.home)
        self._heads = HeadPool(HEADS_BYTES)
        self._loader = loader or Loader(
            self._store,
            self._plan.name,
            settings.offline,
            _log_progress,
            self._precision_of,
            self._catalog.cards,
            self._heads,
            threads_for(self._plan.lanes, self._plan.threads_per_lane),
        )
        self._processes: LaneProcesses | None = None
        wanted = settings.lane_processes == "auto" and not settings.memory_budget_mib
        if wanted and should_use_processes(self._plan, usable_memory_bytes()):
            self._processes = LaneProcesses(self._store, self._plan)
        self._grpc: GrpcPort | None = None
        self._draining = False
        self._started = False
        self._began = time.monotonic()

    # ── state that clients can query ────────────────────────────────────────────────────────────────────

    @property
    def live(self) -> bool:
        """The process answers."""
        return True

    @property
    def ready(self) -> bool:
        """Whether the server takes new requests: startup is over, a model answers, and no drain has begun."""
        return self._started and not self._draining and self._any_ready()

    def _any_ready(self) -> bool:
        return any(status.state is ModelState.READY for status in self._registry.statuses())

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Startup, serve, drain."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._start()
        except BaseException:
            if self._grpc is not None:
                self._grpc.remove_socket()
            raise
        loading = asyncio.create_task(self._load_wanted())
        loading.add_done_callback(_log_failure)
        try:
            await stop.wait()
        finally:
            loading.cancel()
            await self._drain()

    async def _start(self) -> None:
        """Constructs every part, binds both ports, and starts to answer."""
        settings, plan = self._settings, self._plan
        frontend_supported = asyncio.create_task(is_supported(settings))  # it may try in a child process meanwhile
        self._database: Database = await open_database(settings)
        self._access = AccessControl(settings, self._database)
        await self._access.start()
        metrics = registry_with_process_metrics()
        self._recorder = Recorder(Metrics(metrics), Statistics())
        self._recorder.log_lines_lost(lambda: float(lost.lines))
        self._recorder.audit_lines_lost(self._access.audit_lines_lost)
        self._recorder.server_started(
            __version__, plan.name, lambda: self.ready, settings.home, usable_memory_bytes(), free_bytes
        )
        self._recorder.call_log = RequestLog(settings.slow_request_ms / 1000.0 or math.inf)
        self._traces = open_traces(settings, self._task_of)
        if self._traces is not None:
            self._recorder.tracing = self._traces.tracing
            self._recorder.spans_lost(self._traces.spans_lost)
            self._traces.start()
        self._scheduler = DeviceScheduler(asyncio.get_running_loop(), lanes=plan.lanes)
        self._lanes = Lanes(plan, self._scheduler.next_job)
        self._registry = build_registry(
            self._catalog.cards,
            partial(defaults_for, settings, plan.name),
            self._loader,
            self._scheduler,
            self._recorder,
            given=settings.model_options,
            ledger=Ledger(self._held_bytes, settings.memory_budget_mib, lambda: self._heads.bytes),
            on_demand=settings.load_on_demand,
            is_here=lambda card: self._store.find(card) is not None,
            versions=self._versions,
            damaged_cards=self._catalog.damaged,
            growing=self._catalog,
            aliases=AliasStore(self._database),
        )
        self._in_service = await self._registry.restore()
        self._registry.follow(settings.follow_interval_s)
        workers = settings.preprocess_workers or settings.cores
        self._pool = ThreadPoolExecutor(workers, "preprocess")
        self._inference = Inference(self._registry, self._pool, self._recorder, workers)
        self._health = Health(SERVICES)
        self._registry.on_change.append(self._model_changed)
        self._tiers = TierManager(
            self._registry,
            self._recorder,
            compiler_for(settings.home, self._store, plan),
            partial(has_instructions, device=plan.name),
            partial(_enter_tiering, plan),
            trim_heap,
            processes=self._processes,
            busy=lambda: self._scheduler.busy,
            lanes=plan.lanes,
            versions=self._versions,
        )
        self._fine_tuning = FineTuning(
            settings,
            self._catalog,
            self._store,
            self._database,
            self._registry,
            self._scheduler,
            self._pool,
            self._recorder,
            plan,
        )
        grpc_port = self._grpc = GrpcPort(
            settings,
            self._inference,
            self._registry,
            self._recorder,
            self._access,
            self._fine_tuning,
            self._health,
            self,
            None if self._traces is None else self._traces.tracing.settings,
            use_frontend=await frontend_supported,
        )
        _watch_device_memory(self._recorder, plan, self._registry)

        tls = self._tls
        credentials = None if tls is None else server_credentials(lambda: tls.certificate)
        grpc_port.bind(credentials)
        self._http = open_http(settings, metrics, lambda: (self.live, self.ready), tls, self._access.may_read_metrics)
        if tls is not None:
            tls.start(self._recorder)
        self._lanes.start()
        self._health.start()
        for name in self._catalog.cards:
            self._health.set(name, False)  # the health service knows a model before its first load
        for name, _ in self._in_service:
            self._health.set(name, False)
        await self._health.settle()
        await self._fine_tuning.start()
        self._http.start()
        await grpc_port.start()
        port = self._port = grpc_port.number
        address = host_and_port(settings.host, port)
        log.info(
            "live",
            grpc_address=address,
            grpc_port=port,
            http_port=self._http.port,
            tls=tls is not None,
            device=plan.name,
            pid=os.getpid(),
        )
        banner.show_live(settings.host, port, self._http.port, self._wanted, tls=tls is not None)

    async def _load_wanted(self) -> None:
        """Loads the models of the settings one after another, then sets the server ready."""
        for name in self._wanted:
            try:
                await self._registry.begin_load(name)
            except ZooError as error:  # a client has already started another transition
                log.warning("model is not loaded at start", model=name, reason=error.message)
        for name, number in self._in_service:  # fine-tuned versions that an alias names
            try:
                await self._registry.load(name, str(number))
            except ZooError as error:
                log.warning(
                    "a fine-tuned version is not loaded at start", model=name, version=number, reason=error.message
                )
        # Objects of the startup live as long as the process. Frozen, they cost the collector nothing; torch has very many.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTION)
        self._started = True
        self._health.set_server(self.ready)
        log.info(
            "ready" if self.ready else "no model could be loaded", seconds=round(time.monotonic() - self._began, 1)
        )
        self._tiers.start()  # after the loads, which would otherwise share the cores with a compiler
        banner.show_ready(
            self._registry.statuses(),
            self._plan,
            self._settings.host,
            self._port,
            tls=self._tls is not None,
            tokens=self._settings.tokens == "required",
        )

    def _task_of(self, name: str) -> str:
        """The task of a model, for its spans; empty where it has been deleted meanwhile."""
        try:
            return self._registry.status(name).card.task
        except ZooError:
            return ""

    def _held_bytes(self) -> int | None:
        """Bytes held on the device, processes of lanes included. May block."""
        held = memory_reading(self._plan.name)()
        return held if held is None or self._processes is None else held + self._processes.held_bytes()

    def _precision_of(self, name: str) -> str:
        """The precision in which a model is loaded. Called from the loader's thread."""
        return load_precision(self._registry.status(name).options.precision)

    def _model_changed(self, name: str, state: ModelState) -> None:
        if self._draining:  # no model becomes healthy again
            return
        self._health.model_changed(name, state)
        if self._started:
            self._health.set_server(self.ready)

    async def _drain(self) -> None:
        """Not ready, then no new work, then the answers to requests in flight."""
        settings = self._settings
        log.info("draining", grace_s=settings.drain_grace_s)
        self._draining = True
        if not settings.drain_notice_s:  # a watcher that hears "not serving" must find that nothing new is taken
            self._inference.refuse_new()
        self._tiers.stop()
        self._registry.unfollow()
        self._fine_tuning.end_streams()
        jobs_stopped = asyncio.create_task(self._fine_tuning.stop(settings.drain_grace_s))
        self._health.set_server(False)
        for status in self._registry.statuses():
            self._health.set(status.name, False)
        with suppress(TimeoutError):  # a watcher that does not read must not delay the end
            await asyncio.wait_for(self._health.settle(), HEALTH_NOTICE_S)
        await asyncio.sleep(settings.drain_notice_s)  # load balancers probe again; the server still takes work
        answered = await self._inference.drain(settings.drain_grace_s)
        assert self._grpc is not None
        await self._grpc.end_streams()
        await self._grpc.stop(LAST_REPLIES_S)
        await jobs_stopped
        await self._registry.close()
        self._scheduler.stop()
        self._lanes.join(timeout_s=1.0)
        if self._processes is not None:
            await asyncio.to_thread(self._processes.stop)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._health.stop()
        self._http.stop()
        await self._access.stop()
        if self._tls is not None:
            self._tls.stop()
        await asyncio.to_thread(self._database.close)
        if self._traces is not None:
            await asyncio.to_thread(self._traces.stop, LAST_SPANS_S)
        await asyncio.to_thread(self._tiers.join, TIERING_ENDS_S)
        log.info("stopped", all_answered=answered)


# ── small wiring ──────────────────────────────────────────────────────────────────────────────────────────────────


def _enter_tiering(plan: DevicePlan) -> None:
    """Called in the tiering thread: its checks come after requests."""
    limit_threads(plan)
    if plan.name == "cpu":
        lower_priority(LOADING_NICENESS)


def _log_failure(startup: asyncio.Task[None]) -> None:
    """Logs a failure of the startup task, which no other task awaits."""
    if not startup.cancelled() and (error := startup.exception()) is not None:
        log.error("startup failed", exc_info=error)


def _watch_device_memory(recorder: Recorder, plan: DevicePlan, registry: Registry) -> None:
    """Registers gauges of the device's memory, read at every scrape."""
    ledger = registry.ledger
    recorder.device_memory(plan.name, "weights", lambda: float(ledger.weights))
    recorder.device_memory(plan.name, "models", lambda: float(ledger.total))
    if ledger.budget:
        recorder.device_memory(plan.name, "budget", lambda: float(ledger.budget))
    if plan.name == "cpu":
        recorder.device_memory(plan.name, "process", lambda: float(resident_bytes() or 0))
    for kind, read in memory_readers(plan).items():
        recorder.device_memory(plan.name, kind, read)


def _log_progress(model: str) -> Progress:
    """Logs a download in steps of a tenth."""
    logged = -1

    def progress(done: int, total: int, what: str) -> None:
        nonlocal logged
        tenth = done * 10 // total if total else 0
        if tenth != logged:
            logged = tenth
            log.info("fetching weights", model=model, what=what, percent=tenth * 10)

    return progress

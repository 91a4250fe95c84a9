"""The registry: which models are loaded, in which state, and who answers for a name and a version.

Lives on the event loop; loading runs in a thread of its own, one model after another, so that a load never takes more
than one core's worth of attention from serving. The thread is a daemon: a download that stalls must not keep the process
from ending.
"""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from model_zoo.card import Card
from service.errors import IllegalMove, NotFound, NotReady
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loader import Loaded, Loads
from service.registry.served import ServedModel
from service.registry.states import ModelState, check_move
from service.scheduler.policy import Limits
from service.scheduler.scheduler import DeviceScheduler

log = logger(__name__)

STABLE = "stable"
FIRST_VERSION = 1
NOT_LOADED = "not loaded"


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What runs a loaded model."""

    device: str
    precision: str
    memory_bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What there is to say of a model."""

    name: str
    card: Card
    state: ModelState
    reason: str
    versions: tuple[int, ...]
    """Loaded ones, in rising order."""
    aliases: Mapping[str, int]
    labels: tuple[str, ...]
    runtime: RuntimeInfo | None
    max_batch_size: int
    max_queue_size: int
    max_queue_delay_s: float
    ever_loaded: bool
    """Whether anybody asked for it since the server started."""


class _Entry:
    """A model of the catalog and what became of it."""

    def __init__(self, card: Card, limits: Limits) -> None:
        self.card = card
        self.limits = limits
        self.state = ModelState.UNAVAILABLE
        self.reason = NOT_LOADED
        self.served: ServedModel | None = None
        self.load_s = 0.0
        self.loading: asyncio.Task[None] | None = None
        self.status = _status(self)  # made anew at every move, read at every call


class Registry:
    """Models by name. All methods belong to the event loop."""

    def __init__(
        self,
        cards: Mapping[str, Card],
        limits: Callable[[Card], Limits],
        loader: Loads,
        scheduler: DeviceScheduler,
        recorder: Recorder,
    ) -> None:
        self._entries = {name: _Entry(card, limits(card)) for name, card in sorted(cards.items())}
        self._loader = loader
        self._scheduler = scheduler
        self._recorder = recorder
        self._turn = asyncio.Lock()  # whoever loads holds it
        self.on_change: list[Callable[[str, ModelState], None]] = []
        """Called on the loop after a model has entered a state."""
        for entry in self._entries.values():
            self._record_state(entry)

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, name: str, version: str = "") -> ServedModel:
        """Who answers for a model and a version (number, alias, or empty for `stable`).

        Raises NotFound for an unknown name or version, NotReady where it does not answer now.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if version not in ("", STABLE, "1"):
            self._number(entry, version)
        if entry.served is None or entry.state is not ModelState.READY:
            raise _not_ready(entry)
        return entry.served

    def status(self, name: str, version: str = "") -> ModelStatus:
        """What there is to say of one model. Raises NotFound for an unknown name or version."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        self._number(entry, version)
        return entry.status

    def statuses(self) -> list[ModelStatus]:
        """The whole catalog, in order of name."""
        return [entry.status for entry in self._entries.values()]

    # ── moving ────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str) -> ModelStatus:
        """Makes a model READY; one that is already is left as it is, and one that is loading is waited for.

        A caller who leaves does not stop the load. Raises NotFound; NotReady with the reason; IllegalMove while it unloads.
        """
        await asyncio.shield(self.begin_load(name))
        entry = self._entries[name]
        if entry.state is ModelState.UNAVAILABLE:
            raise NotReady(f"model {name!r} could not be loaded: {entry.reason}")
        return entry.status

    def begin_load(self, name: str) -> asyncio.Task[None]:
        """Starts a load and gives its task, which ends in every case and never raises. See `load`."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if entry.loading is None or (entry.loading.done() and entry.state is not ModelState.READY):
            self._move(entry, ModelState.LOADING, "")
            entry.loading = asyncio.create_task(self._load(entry), name=f"load-{name}")
        return entry.loading

    async def unload(self, name: str) -> ModelStatus:
        """Takes a model out of service once those inside are answered. Raises NotFound, and IllegalMove while it loads."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if entry.state is ModelState.UNAVAILABLE:
            return entry.status
        if entry.served is None:
            raise IllegalMove(f"model {name!r} is {entry.state}; it can be unloaded when it is READY")
        served = entry.served
        self._move(entry, ModelState.UNLOADING, "")
        entry.served = None
        # From here on nobody gets in; the rest happens even if the caller leaves.
        await asyncio.shield(asyncio.ensure_future(self._close(entry, served)))
        return entry.status

    async def close(self) -> None:
        """Stops loading; a load that already runs is left to itself. Nothing else may be called after."""
        for entry in self._entries.values():
            if entry.loading is not None and not entry.loading.done():
                entry.loading.cancel()

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _load(self, entry: _Entry) -> None:
        name = entry.card.name
        try:
            async with self._turn:
                loaded = await _in_daemon(partial(self._loader.load, entry.card), f"load-{name}")
        except NotReady as error:
            log.error("model is unavailable", model=name, reason=error.message)
            self._move(entry, ModelState.UNAVAILABLE, error.message)
            return
        except Exception:  # the loader promises NotReady; a model must not stay LOADING for ever where it errs
            log.exception("loading failed", model=name)
            self._move(entry, ModelState.UNAVAILABLE, "loading failed; the server's log has the details")
            return
        entry.served = served = ServedModel(
            entry.card, FIRST_VERSION, loaded.task, loaded.runtime, entry.limits, self._scheduler, self._recorder
        )
        entry.load_s = loaded.load_s
        memory = loaded.runtime.memory_bytes
        self._recorder.model_loaded(name, FIRST_VERSION, loaded.load_s, memory, lambda: served.queue_depth)
        self._move(entry, ModelState.READY, "")
        log.info("model is ready", model=name, version=FIRST_VERSION, seconds=round(loaded.load_s, 2), bytes=memory)

    async def _close(self, entry: _Entry, served: ServedModel) -> None:
        freed = await served.close()
        self._recorder.model_unloaded(served.name, served.version)
        entry.loading = None
        self._move(entry, ModelState.UNAVAILABLE, "unloaded")
        log.info("model is unloaded", model=served.name, freed_bytes=freed)

    def _move(self, entry: _Entry, state: ModelState, reason: str) -> None:
        check_move(entry.card.name, entry.state, state)
        entry.state, entry.reason = state, reason
        entry.status = _status(entry)
        self._record_state(entry)
        for listener in self.on_change:
            listener(entry.card.name, state)

    def _record_state(self, entry: _Entry) -> None:
        self._recorder.model_state(entry.card.name, str(entry.state), tuple(ModelState))

    def _number(self, entry: _Entry, version: str) -> int:
        """The number that `version` means. A base model has one version, which `stable` names."""
        if version in ("", STABLE, str(FIRST_VERSION)):
            return FIRST_VERSION
        known = f"model {entry.card.name!r} has version {FIRST_VERSION}, which is {STABLE!r}"
        raise NotFound("version", version[:64], known=known)

    def _unknown(self, name: str) -> NotFound:
        near = difflib.get_close_matches(name[:64], self._entries, n=3, cutoff=0.5)
        return NotFound("model", name[:64], near, known=f"models are {', '.join(self._entries)}")


def _in_daemon(work: Callable[[], Loaded], name: str) -> asyncio.Future[Loaded]:
    """Runs `work` in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Loaded] = loop.create_future()

    def settle(loaded: Loaded | None, error: Exception | None) -> None:
        if done.done():  # cancelled
            return
        if loaded is not None:
            done.set_result(loaded)
        elif error is not None:
            done.set_exception(error)

    def run() -> None:
        loaded, problem = None, None
        try:
            loaded = work()
        except Exception as error:
            problem = error
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, loaded, problem)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def _not_ready(entry: _Entry) -> NotReady:
    name = entry.card.name
    if entry.state is ModelState.LOADING:
        return NotReady(f"model {name!r} is loading", retry_after_s=1.0)
    if entry.state is ModelState.UNLOADING:
        return NotReady(f"model {name!r} is being unloaded")
    return NotReady(f"model {name!r} is unavailable: {entry.reason}")


def _status(entry: _Entry) -> ModelStatus:
    served = entry.served
    runtime = None
    if served is not None:
        held = served.runtime
        runtime = RuntimeInfo(held.device, held.precision, held.memory_bytes, entry.load_s)
    return ModelStatus(
        entry.card.name,
        entry.card,
        entry.state,
        entry.reason,
        (FIRST_VERSION,) if served else (),
        {STABLE: FIRST_VERSION} if served else {},
        served.task.labels if served else (),
        runtime,
        entry.limits.max_batch_size,
        entry.limits.max_queue_size,
        entry.limits.max_queue_delay_s,
        entry.loading is not None or entry.reason != NOT_LOADED,
    )


__all__ = ["ModelState", "ModelStatus", "Registry", "RuntimeInfo"]

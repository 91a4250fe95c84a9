"""Which versions are loaded, how they come and how they go.

Lives on the event loop; loading runs in a thread of its own, one network after another, so that a load never takes more
than one core's worth of attention from serving. The thread is a daemon: a download that stalls must not keep the process
from ending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from service.engine.served_head import Served
from service.engine.served_model import ServedModel
from service.errors import DeadlineExceeded, IllegalMove
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.loading.head_loading import LoadingHeads, queue_depth, staying
from service.registry.loading.loader import Loaded
from service.registry.loading.memory_ledger import NOTHING, Measurement, freed
from service.registry.model_status import ModelStatus, Unloaded
from service.registry.model_version import (
    NOT_LOADED,
    ModelVersion,
    failure,
    fp32_name,
    not_ready,
)
from service.registry.options import AT_NEXT_LOAD, changed, in_effect, limits_of
from service.registry.states import ModelState
from service.runtime.lanes.threads import LOADING_NICENESS, lower_priority

log = logger(__name__)


class Loading(LoadingHeads):
    """A registry that loads and unloads. All methods belong to the event loop."""

    _tidying: asyncio.Task[None] | None = None

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> Served:
        """`resolve`; a version that is away but comes back when it is called is waited for, by all callers the one load.

        That is one that went to make room for another, a tuned one, and with `on_demand` every model whose files are here, but
        for those that were unloaded by hand or could not be loaded. `deadline` is absolute on the registry's clock; None means
        the model's default timeout. Raises as `resolve` does; DeadlineExceeded; MemoryFull where there is no room.
        """
        entry = self._book(name).pick(version)
        if entry.answers() or not self._waits(entry):
            return self._admitted(entry)
        until = self._deadline(entry) if deadline is None else deadline
        if until <= self._clock():
            raise DeadlineExceeded("before the request arrived")
        try:
            async with asyncio.timeout_at(until):
                with staying(entry):
                    while not entry.answers():
                        await self._bring_back(entry)
                    return self._admitted(entry)
        except TimeoutError:
            raise DeadlineExceeded("while the model was loading, or waiting for memory to load into") from None

    # ── moving ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str, version: str = "") -> ModelStatus:
        """Makes a model READY; one that is already is left as it is, and one that is loading is waited for.

        Without a version its stable one, or the newest where none is stable. A caller who leaves does not stop the load.
        Raises NotFound; NotReady with the reason; MemoryFull where the budget has no room; IllegalMove while it unloads.
        """
        await asyncio.shield(self.begin_load(name, version))
        entry = self._found(name, version)
        if entry.state is ModelState.UNAVAILABLE:
            raise failure(entry)
        if entry.head is not None and entry.served is None:  # its base went, or did not come
            raise not_ready(entry)
        return self.status(name, version)

    def begin_load(self, name: str, version: str = "") -> asyncio.Task[None]:
        """Starts a load and gives its task, which ends in every case and never raises. See `load`."""
        return self._begin_load(self._found(name, version))

    async def unload(self, name: str, version: str = "") -> Unloaded:
        """Takes a model out of service once those inside are answered, and says what came back.

        It stays away until somebody loads it. Without a version all versions go. Raises NotFound, and IllegalMove while it loads
        or unloads, or while heads ride on it.
        """
        book = self._book(name)
        entries = [book.find(version)] if version else list(book.entries.values())
        for entry in entries:
            self._check_unload(entry)
        going = [self._begin_unload(e, "unloaded", comes_back=False) for e in entries if e.state is ModelState.READY]
        for entry in entries:
            entry.comes_back = False
        # From here on nobody gets in; the rest happens even if the caller leaves.
        done = await asyncio.shield(asyncio.gather(*going))
        return Unloaded(self._statuses[name], sum(held for held, _ in done), sum(back for _, back in done))

    def set_options(self, name: str, changes: Mapping[str, object]) -> tuple[ModelStatus, tuple[str, ...]]:
        """Changes options of a model, that is of all its versions, while it serves; None takes one back to its default.

        Gives the status, and the names of those options that take effect only when it is loaded the next time.
        Raises NotFound; InvalidInput that names the option, and then nothing has changed.
        """
        book = self._book(name)
        given = book.given
        for entry in book.entries.values():  # what one version's card does not allow, none gets
            given = changed(entry.card, book.given, changes)
        book.given = self._given[name] = given
        before = book.primary.options
        for entry in book.entries.values():
            entry.options = in_effect(entry.defaults, given)
            if entry.served is not None:
                entry.served.set_limits(limits_of(entry.options))
        self._refresh(book)
        beside = self._books.get(fp32_name(name))
        if beside is not None:  # its options are the base's, but for the precision and for who may go first
            self.set_options(beside.name, {o: v for o, v in changes.items() if o not in ("precision", "pinned")})
        entry = book.primary
        log.info("options changed", model=name, options=entry.options.model_dump())
        away = entry.state is ModelState.UNAVAILABLE
        later = [o for o in AT_NEXT_LOAD if not away and getattr(before, o) != getattr(entry.options, o)]
        return self._statuses[name], tuple(later)

    def refresh(self, name: str) -> None:
        """Looks anew at what runs a loaded model, after a faster form of it was swapped in. Harmless for one that is away."""
        book = self._books[name]
        for entry in book.entries.values():
            if isinstance(entry.served, ServedModel) and self.ledger.holding(entry.key) is not None:
                runtime = entry.served.runtime
                held = self.ledger.reweighed(entry.key, runtime.memory_bytes, getattr(runtime, "shared", None))
                self._recorder.model_memory(name, entry.number, held.total)
                for rider in entry.riders:
                    self._refresh(self._books[rider.name])
                # There may be less room now, as where versions share the weights that it had before.
                tidies = self._tidying is not None and not self._tidying.done()  # until all fits: once is enough
                if self.ledger.missing(NOTHING) and not tidies:
                    self._tidying = asyncio.create_task(self._back_to_budget(entry), name=f"budget-{entry.key}")
        self._refresh(book)

    async def close(self) -> None:
        """Stops loading; a load that already runs is left to itself. Nothing else may be called after."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        if self._tidying is not None:
            self._tidying.cancel()
        for entry in self._all():
            if entry.loading is not None and not entry.loading.done():
                entry.loading.cancel()

    # ── within ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin_load(self, entry: ModelVersion) -> asyncio.Task[None]:
        if entry.leaving:
            raise IllegalMove(f"{entry.title} is being deleted")
        if entry.is_head and entry.state is ModelState.READY and entry.served is None and entry.base is not None:
            return self._begin_load(entry.base)  # all that is missing is the base, which takes its heads along
        if entry.loading is None or (entry.loading.done() and entry.state is not ModelState.READY):
            entry.no_room = None
            self._move(entry, ModelState.LOADING, "")
            work = self._load_head(entry) if entry.is_head else self._load(entry)
            entry.loading = asyncio.create_task(work, name=f"load-{entry.key}")
        return entry.loading

    def _check_unload(self, entry: ModelVersion) -> None:
        if entry.state not in (ModelState.READY, ModelState.UNAVAILABLE):
            raise IllegalMove(f"{entry.title} is {entry.state}; it can be unloaded when it is READY")
        if entry.riders:
            names = ", ".join(sorted({rider.name for rider in entry.riders}))
            raise IllegalMove(f"{entry.title} carries {names}, which cannot answer without it; unload those first")

    async def _load(self, entry: ModelVersion) -> None:
        async with self._turn:
            with self._failing(entry):
                await self._make_room(entry, self._need(entry))
                loaded, growth, libraries = await self._measured_load(entry)
                self._enter(entry, loaded, growth, libraries)
            if entry.state is ModelState.READY:
                await self._keep_to_budget(entry)

    async def _back_to_budget(self, entry: ModelVersion) -> None:
        async with self._turn:
            await self._keep_to_budget(entry)

    async def _measured_load(self, entry: ModelVersion) -> tuple[Loaded, int | None, bool]:
        """What was loaded, how much the device's reading grew, and whether libraries came along."""
        thread = f"load-{entry.key}"
        measurement = await in_daemon(partial(Measurement, self.ledger), thread)
        try:
            loaded = await in_daemon(partial(_gently, self._load_of(entry)), thread)
        finally:  # in another thread, since the loader's own stack is none of the model's
            growth = await in_daemon(measurement.end, thread)
        return loaded, growth, measurement.libraries

    def _load_of(self, entry: ModelVersion) -> Callable[[], Loaded]:
        """What loads a version's network. Blocks when called."""
        if entry.stands_in_for:
            return partial(self._loader.load, entry.card, "fp32")
        return partial(self._loader.load, entry.card)

    def _enter(self, entry: ModelVersion, loaded: Loaded, growth: int | None, libraries: bool) -> None:
        """A network was loaded: it enters the books, and from now on it answers."""
        entry.served = served = ServedModel(
            entry.card,
            entry.number,
            loaded.task,
            loaded.runtime,
            limits_of(entry.options),
            self._scheduler,
            self._recorder,
            loaded.reference,
            loaded.golden,
            name=entry.name,
            record=entry.record,
        )
        served.decisions, served.note = loaded.decisions, loaded.note
        for timing in loaded.timings:
            served.learn(*timing)
        entry.load_s, entry.last_used = loaded.load_s, self._clock()
        entry.comes_back = self._on_demand or entry.version is not None
        runtime = loaded.runtime
        shared = getattr(runtime, "shared", None)
        held = self.ledger.loaded(entry.key, runtime.memory_bytes, growth, libraries, shared, runtime.precision)
        # Asked through the entry: the gauge refers to itself, and a model to which it refers would stay for the collector.
        self._recorder.model_loaded(entry.name, entry.number, loaded.load_s, held.total, lambda: queue_depth(entry))
        unproven = [rider for rider in entry.riders if not rider.may_ride(runtime)]
        for rider in entry.riders:
            if rider.head is not None and rider not in unproven:
                rider.served = self._on_base(rider, rider.head)
        self._move(entry, ModelState.READY, "")
        for rider in unproven:
            self._begin_unload(
                rider, "its base runs otherwise than before; a call has it checked anew", comes_back=True
            )
        log.info(
            "model is ready",
            model=entry.name,
            version=entry.number,
            seconds=round(loaded.load_s, 2),
            bytes=held.total,
            weights_bytes=held.weights,
            growth_bytes=growth,
        )
        for listener in self.on_ready:
            try:
                listener(served)
            except Exception:  # it answers, whoever else errs
                log.exception("a model is ready, and who was told failed", model=entry.name, version=entry.number)

    def _begin_unload(self, entry: ModelVersion, reason: str, *, comes_back: bool) -> asyncio.Task[tuple[int, int]]:
        served, entry.served = entry.served, None
        entry.comes_back = comes_back
        for rider in entry.riders:  # those inside them are inside the base, which waits for them
            rider.served = None
        if entry.head is not None:
            self._leave(entry)
        self._move(entry, ModelState.UNLOADING, "")
        if isinstance(served, ServedModel):
            work = self._unload(entry, served, reason)
        else:
            work = self._unload_head(entry, served, reason)
        entry.unloading = asyncio.create_task(work, name=f"unload-{entry.key}")
        return entry.unloading

    async def _unload(self, entry: ModelVersion, served: ServedModel, reason: str) -> tuple[int, int]:
        """Gives what the model held and what came back, in bytes."""
        name, version, runtime = served.name, served.version, served.runtime
        await served.close()
        self._recorder.model_unloaded(name, version)
        weights = runtime.memory_bytes
        measurement = await in_daemon(partial(Measurement, self.ledger), f"unload-{entry.key}")
        try:
            runtime.free()
        except Exception:  # it must not stay on its way out for ever
            log.exception("a network could not be freed as it should", model=name, version=version)
        del served, runtime  # tokenizers and the like go with the last reference
        measured = await in_daemon(partial(freed, measurement, weights), f"unload-{entry.key}")
        held = self.ledger.unloaded(entry.key, measured)
        entry.loading = entry.unloading = None
        self._move(entry, ModelState.UNAVAILABLE, reason)
        came_back = weights if measured is None else measured
        log.info(
            f"freed {came_back / 1e6:.1f} of {held / 1e6:.1f} MB",
            model=name,
            version=version,
            reason=reason,
            freed_bytes=came_back,
            held_bytes=held,
            measured=measured is not None,
        )
        return held, came_back

    def _waits(self, entry: ModelVersion) -> bool:
        """Whether a call that finds a version away waits for it."""
        if entry.leaving:
            return False
        if entry.head is not None and entry.base is not None:
            return self._waits(entry.base)
        return entry.comes_back and (entry.reason != NOT_LOADED or self._is_here(entry.card))

    async def _bring_back(self, entry: ModelVersion) -> None:
        """One step of a version that is away towards being READY. Raises where it does not come back."""
        if entry.leaving:
            raise not_ready(entry)
        if entry.head is not None and entry.base is not None:  # a head that has lost its base
            await self._bring_back(entry.base)
            return
        if entry.unloading is not None:
            await asyncio.shield(entry.unloading)
            return
        if entry.state is ModelState.UNAVAILABLE:
            self._check_room(entry)  # refused before it would be LOADING
            log.info("loading for a call", model=entry.name, version=entry.number)
        await asyncio.shield(self._begin_load(entry))
        if entry.state is ModelState.UNAVAILABLE:
            raise failure(entry)


def _gently(load: Callable[[], Loaded]) -> Loaded:
    """In a thread of its own, which ends with the load. What libraries start meanwhile for good keeps its niceness: threads of
    scipy's BLAS were seen, which nothing that serves uses."""
    lower_priority(LOADING_NICENESS)
    return load()

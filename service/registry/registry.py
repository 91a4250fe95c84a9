"""The registry: which models are loaded, in which state, and who answers for a name and a version.

Lives on the event loop; loading runs in a thread of its own, one model after another, so that a load never takes more
than one core's worth of attention from serving. The thread is a daemon: a download that stalls must not keep the process
from ending.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Mapping
from functools import partial

from model_zoo.card import Card
from service.errors import DeadlineExceeded, IllegalMove, MemoryFull, NotFound, NotReady
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.background import in_daemon
from service.registry.entry import FIRST_VERSION, NOT_LOADED, STABLE, Entry, NoRoom, failure, not_ready, status_of
from service.registry.ledger import Ledger, Measurement, freed
from service.registry.loader import Loaded, Loads
from service.registry.options import AT_NEXT_LOAD, changed, in_effect, limits_of
from service.registry.room import to_evict
from service.registry.served import ServedModel
from service.registry.states import ModelState, check_move
from service.registry.status import ModelStatus, RuntimeInfo, Unloaded
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions

log = logger(__name__)

NOTHING_GIVEN = ModelOptions()


class Registry:
    """Models by name. All methods belong to the event loop."""

    def __init__(
        self,
        cards: Mapping[str, Card],
        defaults: Callable[[Card], ModelOptions],
        loader: Loads,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        *,
        given: Mapping[str, ModelOptions] | None = None,
        ledger: Ledger | None = None,
        on_demand: bool = False,
        is_here: Callable[[Card], bool] = lambda card: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`defaults` has a value for every option of a card's model, `given` what was told of single ones.

        `on_demand`: a call loads a model whose files are on this machine, which `is_here` tells. `clock` is the event loop's.
        """
        told = given or {}
        self._loader = loader
        self._scheduler = scheduler
        self._recorder = recorder
        self._on_demand = on_demand
        self._is_here = is_here
        self._clock = clock
        self._turn = asyncio.Lock()  # whoever loads holds it
        self.ledger = ledger or Ledger()
        self.on_change: list[Callable[[str, ModelState], None]] = []
        """Called on the loop after a model has entered a state."""
        self._entries = {
            name: Entry(card, defaults(card), told.get(name, NOTHING_GIVEN), on_demand)
            for name, card in sorted(cards.items())
        }
        self._statuses: dict[str, ModelStatus] = {}  # made anew at every change, read at every call
        for entry in self._entries.values():
            self._refresh(entry)
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
            raise not_ready(entry)
        entry.last_used = self._clock()
        return entry.served

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> ServedModel:
        """`resolve`; a model that is away but comes back when it is called is waited for, by all callers the one load.

        That is one that went to make room for another, and with `on_demand` every model whose files are here, but for those
        that were unloaded by hand or could not be loaded. `deadline` is absolute on the registry's clock; None means the
        model's default timeout. Raises as `resolve` does; DeadlineExceeded; MemoryFull where there is no room.
        """
        try:
            return self.resolve(name, version)
        except NotReady:
            entry = self._entries[name]
            if not self._waits(entry):
                raise
        until = self.deadline(name) if deadline is None else deadline
        if until <= self._clock():
            raise DeadlineExceeded("before the request arrived")
        entry.awaited += 1
        try:
            async with asyncio.timeout_at(until):
                while entry.state is not ModelState.READY:
                    await self._bring_back(entry)
                return self.resolve(name, version)
        except TimeoutError:
            raise DeadlineExceeded("while the model was loading, or waiting for memory to load into") from None
        finally:
            entry.awaited -= 1

    def deadline(self, name: str) -> float:
        """When a call to a known model that brings no deadline must be answered, on the registry's clock."""
        return self._clock() + (self._entries[name].options.default_timeout_ms or 0.0) / 1000.0

    def status(self, name: str, version: str = "") -> ModelStatus:
        """What there is to say of one model. Raises NotFound for an unknown name or version."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        self._number(entry, version)
        return self._statuses[name]

    def statuses(self) -> list[ModelStatus]:
        """The whole catalog, in order of name."""
        return [self._statuses[name] for name in self._entries]

    # ── moving ────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str) -> ModelStatus:
        """Makes a model READY; one that is already is left as it is, and one that is loading is waited for.

        A caller who leaves does not stop the load. Raises NotFound; NotReady with the reason; MemoryFull where the budget has
        no room; IllegalMove while it unloads.
        """
        await asyncio.shield(self.begin_load(name))
        entry = self._entries[name]
        if entry.state is ModelState.UNAVAILABLE:
            raise failure(entry)
        return self._statuses[name]

    def begin_load(self, name: str) -> asyncio.Task[None]:
        """Starts a load and gives its task, which ends in every case and never raises. See `load`."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if entry.loading is None or (entry.loading.done() and entry.state is not ModelState.READY):
            entry.no_room = None
            self._move(entry, ModelState.LOADING, "")
            entry.loading = asyncio.create_task(self._load(entry), name=f"load-{name}")
        return entry.loading

    async def unload(self, name: str) -> Unloaded:
        """Takes a model out of service once those inside are answered, and says what came back.

        It stays away until somebody loads it. Raises NotFound, and IllegalMove while it loads or unloads.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if entry.state is ModelState.UNAVAILABLE:
            entry.comes_back = False
            return Unloaded(self._statuses[name])
        if entry.state is not ModelState.READY:
            raise IllegalMove(f"model {name!r} is {entry.state}; it can be unloaded when it is READY")
        # From here on nobody gets in; the rest happens even if the caller leaves.
        held, came_back = await asyncio.shield(self._begin_unload(entry, "unloaded", comes_back=False))
        return Unloaded(self._statuses[name], held, came_back)

    def set_options(self, name: str, changes: Mapping[str, object]) -> tuple[ModelStatus, tuple[str, ...]]:
        """Changes options of a model while it serves; None takes one back to its default.

        Gives the status, and the names of those options that take effect only when it is loaded the next time.
        Raises NotFound; InvalidInput that names the option, and then nothing has changed.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        entry.given = changed(entry.card, entry.given, changes)
        before, entry.options = entry.options, in_effect(entry.defaults, entry.given)
        if entry.served is not None:
            entry.served.set_limits(limits_of(entry.options))
        self._refresh(entry)
        log.info("options changed", model=name, options=entry.options.model_dump())
        away = entry.state is ModelState.UNAVAILABLE
        later = [o for o in AT_NEXT_LOAD if not away and getattr(before, o) != getattr(entry.options, o)]
        return self._statuses[name], tuple(later)

    def serves(self, served: ServedModel) -> bool:
        """Whether it is this load of its model that answers now. From any thread."""
        entry = self._entries[served.name]
        return entry.served is served and entry.state is ModelState.READY

    def refresh(self, name: str) -> None:
        """Looks anew at what runs a loaded model, after a faster form of it was swapped in. Harmless for one that is away."""
        entry = self._entries[name]
        if entry.served is not None:
            held = self.ledger.reweighed(name, entry.served.runtime.memory_bytes)
            self._recorder.model_memory(name, FIRST_VERSION, held.total)
            self._refresh(entry)

    async def close(self) -> None:
        """Stops loading; a load that already runs is left to itself. Nothing else may be called after."""
        for entry in self._entries.values():
            if entry.loading is not None and not entry.loading.done():
                entry.loading.cancel()

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _load(self, entry: Entry) -> None:
        name = entry.name
        try:
            async with self._turn:
                await self._make_room(entry, self.ledger.need(entry.card))
                loaded, growth, libraries = await self._measured_load(entry)
                self._enter(entry, loaded, growth, libraries)
                await self._keep_to_budget(entry)
        except MemoryFull as error:  # there may be room at the next call
            log.warning("there is no room for a model", model=name, reason=error.message)
            entry.no_room = NoRoom(error.message, error.retry_after_s)
            self._move(entry, ModelState.UNAVAILABLE, error.message)
        except NotReady as error:
            log.error("model is unavailable", model=name, reason=error.message)
            self._fail(entry, error.message)
        except Exception:  # the loader promises NotReady; a model must not stay LOADING for ever where it errs
            log.exception("loading failed", model=name)
            self._fail(entry, "loading failed; the server's log has the details")

    async def _measured_load(self, entry: Entry) -> tuple[Loaded, int | None, bool]:
        """What was loaded, how much the device's reading grew, and whether libraries came along."""
        thread = f"load-{entry.name}"
        measurement = await in_daemon(partial(Measurement, self.ledger), thread)
        try:
            loaded = await in_daemon(partial(self._loader.load, entry.card), thread)
        finally:  # in another thread, since the loader's own stack is none of the model's
            growth = await in_daemon(measurement.end, thread)
        return loaded, growth, measurement.libraries

    def _enter(self, entry: Entry, loaded: Loaded, growth: int | None, libraries: bool) -> None:
        """A model was loaded: it enters the books, and from now on it answers."""
        name = entry.name
        entry.served = served = ServedModel(
            entry.card,
            FIRST_VERSION,
            loaded.task,
            loaded.runtime,
            limits_of(entry.options),
            self._scheduler,
            self._recorder,
            loaded.reference,
        )
        for timing in loaded.timings:
            served.learn(*timing)
        entry.load_s, entry.last_used, entry.comes_back = loaded.load_s, self._clock(), self._on_demand
        held = self.ledger.loaded(name, loaded.runtime.memory_bytes, growth, libraries)
        # Asked through the entry: the gauge refers to itself, and a model to which it refers would stay for the collector.
        self._recorder.model_loaded(name, FIRST_VERSION, loaded.load_s, held.total, lambda: _queue_depth(entry))
        self._move(entry, ModelState.READY, "")
        log.info(
            "model is ready",
            model=name,
            version=FIRST_VERSION,
            seconds=round(loaded.load_s, 2),
            bytes=held.total,
            weights_bytes=held.weights,
            growth_bytes=growth,
        )

    def _fail(self, entry: Entry, reason: str) -> None:
        entry.comes_back = False  # what is broken waits for somebody to look at it
        self._move(entry, ModelState.UNAVAILABLE, reason)

    def _begin_unload(self, entry: Entry, reason: str, *, comes_back: bool) -> asyncio.Task[tuple[int, int]]:
        served, entry.served = entry.served, None
        assert served is not None
        entry.comes_back = comes_back
        self._move(entry, ModelState.UNLOADING, "")
        entry.unloading = asyncio.create_task(self._unload(entry, served, reason), name=f"unload-{entry.name}")
        return entry.unloading

    async def _unload(self, entry: Entry, served: ServedModel, reason: str) -> tuple[int, int]:
        """Gives what the model held and what came back, in bytes."""
        name, version, runtime = served.name, served.version, served.runtime
        await served.close()
        self._recorder.model_unloaded(name, version)
        weights = runtime.memory_bytes
        measurement = await in_daemon(partial(Measurement, self.ledger), f"unload-{name}")
        runtime.free()
        del served, runtime  # tokenizers and the like go with the last reference
        measured = await in_daemon(partial(freed, measurement, weights), f"unload-{name}")
        held = self.ledger.unloaded(name, measured)
        entry.loading = entry.unloading = None
        self._move(entry, ModelState.UNAVAILABLE, reason)
        came_back = weights if measured is None else measured
        log.info(
            f"freed {came_back / 1e6:.1f} of {held / 1e6:.1f} MB",
            model=name,
            reason=reason,
            freed_bytes=came_back,
            held_bytes=held,
            measured=measured is not None,
        )
        return held, came_back

    # ── room ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _make_room(self, entry: Entry, need: int) -> None:
        """Unloads what was used longest ago until `need` more bytes fit. Raises MemoryFull where that cannot be."""
        if not self.ledger.missing(need):
            return
        for leaving in [other.unloading for other in self._entries.values() if other.unloading is not None]:
            await asyncio.shield(leaving)
        reason = f"unloaded to make room for {entry.name!r}; a call brings it back"
        # One after another, so that each is measured, and asked anew each time: somebody may have come to the next meanwhile.
        while self.ledger.missing(need):
            try:
                victim = to_evict(self.ledger, entry, need, self._entries.values())[0]
            except MemoryFull as error:
                # Calls that wait for this model have deadlines, so they may wait for others to be done; who only loads may not.
                if error.retry_after_s is None or not entry.awaited:
                    raise
                await self._somebody_idle(error.retry_after_s)
                continue
            await asyncio.shield(self._begin_unload(victim, reason, comes_back=True))

    async def _somebody_idle(self, most_s: float) -> None:
        """Returns when a model that is in use now falls idle, and after `most_s` in any case."""
        busy = [e.served for e in self._entries.values() if e.served is not None and e.served.rows_in_flight]
        waits = [asyncio.ensure_future(served.idle()) for served in busy]
        try:
            if waits:
                await asyncio.wait(waits, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)  # those who waited for their model are about to get in
        finally:
            for wait in waits:
                wait.cancel()

    async def _keep_to_budget(self, entry: Entry) -> None:
        """A model may hold more than was foreseen: others make room for that, too, as far as they can."""
        try:
            await self._make_room(entry, 0)
        except MemoryFull:
            log.warning("models hold more than the budget", bytes=self.ledger.total, budget_bytes=self.ledger.budget)

    def _waits(self, entry: Entry) -> bool:
        """Whether a call that finds a model away waits for it."""
        return entry.comes_back and (entry.reason != NOT_LOADED or self._is_here(entry.card))

    async def _bring_back(self, entry: Entry) -> None:
        """One step of a model that is away towards being READY. Raises where it does not come back."""
        if entry.unloading is not None:
            await asyncio.shield(entry.unloading)
            return
        if entry.state is ModelState.UNAVAILABLE:
            self._check_room(entry)  # refused before it would be LOADING
            log.info("loading for a call", model=entry.name)
        await asyncio.shield(self.begin_load(entry.name))
        if entry.state is ModelState.UNAVAILABLE:
            raise failure(entry)

    def _check_room(self, entry: Entry) -> None:
        """Raises MemoryFull where a load could find no room, however long it waited."""
        need = self.ledger.need(entry.card)
        if self.ledger.missing(need) and not self._turn.locked():
            try:
                to_evict(self.ledger, entry, need, self._entries.values())
            except MemoryFull as error:
                if error.retry_after_s is None:
                    raise

    # ── moves ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _move(self, entry: Entry, state: ModelState, reason: str) -> None:
        check_move(entry.name, entry.state, state)
        entry.state, entry.reason = state, reason
        self._refresh(entry)
        self._record_state(entry)
        for listener in self.on_change:
            listener(entry.name, state)

    def _refresh(self, entry: Entry) -> None:
        self._statuses[entry.name] = status_of(entry, self.ledger)

    def _record_state(self, entry: Entry) -> None:
        self._recorder.model_state(entry.name, str(entry.state), tuple(ModelState))

    def _number(self, entry: Entry, version: str) -> int:
        """The number that `version` means. A base model has one version, which `stable` names."""
        if version in ("", STABLE, str(FIRST_VERSION)):
            return FIRST_VERSION
        known = f"model {entry.name!r} has version {FIRST_VERSION}, which is {STABLE!r}"
        raise NotFound("version", version[:64], known=known)

    def _unknown(self, name: str) -> NotFound:
        near = difflib.get_close_matches(name[:64], self._entries, n=3, cutoff=0.5)
        return NotFound("model", name[:64], near, known=f"models are {', '.join(self._entries)}")


def _queue_depth(entry: Entry) -> int:
    return 0 if entry.served is None else entry.served.queue_depth


__all__ = ["ModelState", "ModelStatus", "Registry", "RuntimeInfo", "Unloaded"]

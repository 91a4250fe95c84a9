"""Heads: versions without a network of their own. They are read in milliseconds, checked on their base, and go where it goes.

base runs in fp32, or the head holds on its tier and precision ──► the head runs on the base
the head does not hold there                                  ──► it runs on an fp32 runtime of the base, `NAME@fp32`, which
                                                                  exists as long as a head needs it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from model_zoo.golden.golden_items import read_golden_items
from service.engine.served_head import HeadServed
from service.engine.served_model import ServedModel
from service.errors import MemoryFull, NotReady, ZooError
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.loading.eviction import MakingRoom
from service.registry.loading.head_queue_check import check_in_queue
from service.registry.loading.loader import LoadedHead
from service.registry.model_record import ModelRecord
from service.registry.model_version import ModelVersion, NoRoom, fp32_name
from service.registry.options import limits_of
from service.registry.states import ModelState
from service.runtime.memory import trim_heap
from service.runtime.network import Runtime
from service.verification.check_key import check_key, tier_and_precision
from service.verification.head_checks import HeadCheck

log = logger(__name__)

GIVE_BACK_S = 1.0
"""After the last of several heads was loaded."""


class LoadingHeads(MakingRoom):
    """A registry that puts heads on loaded bases."""

    _giving_back: asyncio.TimerHandle | None = None

    def _begin_load(self, entry: ModelVersion) -> asyncio.Task[None]:
        """Has a version loaded; the task never raises."""
        raise NotImplementedError

    async def _load_head(self, entry: ModelVersion) -> None:
        """Reads the head, and finds a runtime of its base on which it holds: the base's own, else an fp32 one beside it."""
        with self._failing(entry), staying(entry):
            home = entry.home
            if home is None:
                raise NotReady("its base is not in the zoo")
            self._ride(entry, home)
            with staying(home):
                await self._bring(home)
                began = time.monotonic()
                loaded = await in_daemon(partial(self._loader.load_head, entry.card), f"load-{entry.key}")
                try:
                    entered = await self._entered(entry, loaded, began)
                except BaseException:
                    loaded.head.free()
                    raise
            if not entered:  # from here on the base may make room for its fp32 runtime
                await self._load_in_fp32(entry, loaded, self._fp32_of(home), began)

    async def _load_in_fp32(self, entry: ModelVersion, loaded: LoadedHead, base: ModelVersion, began: float) -> None:
        """Puts a head on the fp32 runtime of its base."""
        self._ride(entry, base)
        try:
            with staying(base):
                if not await self._entered(entry, loaded, began):
                    raise NotReady("it does not hold on an fp32 runtime of its base either")
        except BaseException:
            loaded.head.free()
            self._leave(entry)
            raise

    async def _entered(self, entry: ModelVersion, loaded: LoadedHead, began: float) -> bool:
        """Puts a head on its base if it holds there as the base runs now. False where it does not and an fp32 runtime may help.

        Raises NotReady for a head that does not hold in fp32, MemoryFull.
        """
        base = entry.base
        assert base is not None
        while True:
            while not base.answers():
                await self._bring(base)
            on_base = self._on_base(entry, loaded)
            runtime = on_base.runtime
            found = await check_in_queue(on_base, loaded.golden)
            if base.served is None or base.served.runtime is not runtime:
                continue  # of a runtime that went, or was exchanged, the outcome says nothing
            entry.proven[check_key(runtime)] = found
            if found.problem is None:
                self._enter_head(entry, loaded, time.monotonic() - began)
                return True
            if tier_and_precision(runtime) == "eager fp32" or base.stands_in_for:
                raise NotReady(found.problem)
            log.info("a head needs an fp32 runtime", model=entry.name, version=entry.number, reason=found.problem)
            return False

    # ── the fp32 runtime of a base ────────────────────────────────────────────────────────────────────────────────

    def _fp32_of(self, home: ModelVersion) -> ModelVersion:
        """The fp32 runtime of a base for those of its heads that do not hold on its own; the first that needs it makes it.

        It is a model of its own in the ledger, in the metrics and in lists, with the options of the base.
        """
        name = fp32_name(home.name)
        book = self._books.get(name)
        if book is None:
            given = self._books[home.name].given.model_copy(update={"precision": "fp32", "pinned": None})
            entry = ModelVersion(home.card, self._defaults(home.card), given, comes_back=True, stands_in_for=home.name)
            book = ModelRecord(name, given, [entry], tuned=False)
            self._add_book(book)
        return book.primary

    def _ride(self, entry: ModelVersion, base: ModelVersion) -> None:
        """From now on this base carries a head."""
        if entry.base is not base:
            self._leave(entry)
            entry.base = base

    def _leave(self, entry: ModelVersion) -> None:
        """A head goes from what carries it. An fp32 runtime that carries nobody goes, too."""
        base = entry.base
        if base is None:
            return
        if entry in base.riders:
            base.riders.remove(entry)
        if base.stands_in_for:
            entry.base = entry.home
            self._let_go_of_fp32(base)

    def _let_go_of_fp32(self, base: ModelVersion) -> None:
        if base.riders or base.awaited or base.wanted or any(other.base is base for other in self._all()):
            return
        if base.state is ModelState.READY:
            unloading = self._begin_unload(base, "no version needs it any more", comes_back=True)
            unloading.add_done_callback(lambda _: self._let_go_of_fp32(base))
        elif base.state is ModelState.UNAVAILABLE and self._books.pop(base.name, None) is not None:
            del self._statuses[base.name]
            self._recorder.model_gone(base.name, tuple(ModelState))

    async def carry_in_fp32(
        self, served: ServedModel, runtime: Runtime, checks: Mapping[HeadServed, HeadCheck]
    ) -> None:
        """Moves heads to the fp32 runtime of their base, and returns once nobody is inside them on the base itself.

        For heads that do not hold on `runtime`, which is about to run the base: how they did there. Those for which no memory
        is left are moved all the same: the next call has the runtime loaded.
        """
        self.heads_hold(served, runtime, checks)
        moving = [rider for rider in self._riders_on(served) if rider.served in checks]
        if not moving:
            return
        home = moving[0].home
        assert home is not None
        base = self._fp32_of(home)
        base.wanted += 1
        try:
            with staying(home):  # it is about to be faster for everybody else
                try:
                    while not base.answers():
                        await self._bring(base)
                except ZooError as error:
                    log.warning("an fp32 runtime for heads is not loaded yet", model=base.name, reason=error.message)
            for rider in moving:
                self._move_to(rider, base)
        finally:
            base.wanted -= 1
            self._let_go_of_fp32(base)
        for head in checks:
            await head.idle()

    def _move_to(self, entry: ModelVersion, base: ModelVersion) -> None:
        """A READY head changes what carries it. One that went meanwhile is left alone."""
        if entry.head is None or entry.base is base or entry.state is not ModelState.READY:
            return
        self._leave(entry)
        entry.base = base
        base.riders.append(entry)
        entry.served = self._on_base(entry, entry.head) if base.served is not None else None
        self._changed(self._books[entry.name])
        log.info(
            "a head moves to an fp32 runtime",
            model=entry.name,
            version=entry.number,
            base=base.name,
            reason=entry.note,
        )

    async def _bring(self, base: ModelVersion) -> None:
        """Has a base loaded for a head. Raises NotReady, MemoryFull."""
        if base.unloading is not None:
            await asyncio.shield(base.unloading)
        if not base.answers():
            await asyncio.shield(self._begin_load(base))
        if base.state is ModelState.UNAVAILABLE:
            if base.no_room is not None:
                raise MemoryFull(*base.no_room)
            raise NotReady(f"its base {base.name!r} could not be loaded: {base.reason}")

    def _enter_head(self, entry: ModelVersion, loaded: LoadedHead, load_s: float) -> None:
        """A head was read and is right: from now on it answers, whenever its base does."""
        assert entry.base is not None
        # Without the golden items, which are a hundred times the head: it is held to them once.
        entry.head, entry.served = replace(loaded, golden=()), self._on_base(entry, loaded)
        entry.base.riders.append(entry)
        entry.load_s, entry.last_used, entry.comes_back = load_s, self._clock(), True
        held = loaded.head.memory_bytes
        self._recorder.model_loaded(entry.name, entry.number, load_s, held, lambda: queue_depth(entry))
        self._move(entry, ModelState.READY, "")
        self._give_back_soon()
        log.info(
            "model is ready",
            model=entry.name,
            version=entry.number,
            seconds=round(load_s, 3),
            bytes=held,
            base=entry.base.name,
        )

    def _give_back_soon(self) -> None:
        """Golden items are megabytes, and what stays of a head lies between those of one and of the next. malloc fits other
        things into such holes badly: a hundred heads held 280 MiB of them."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        loop = asyncio.get_running_loop()
        self._giving_back = loop.call_later(GIVE_BACK_S, lambda: in_daemon(trim_heap, "give-back"))

    def _on_base(self, entry: ModelVersion, loaded: LoadedHead) -> HeadServed:
        assert entry.base is not None
        base = entry.base.served
        assert isinstance(base, ServedModel)
        limits = limits_of(entry.options)
        golden = partial(read_golden_items, entry.name, entry.version.golden) if entry.version is not None else tuple
        return HeadServed(
            entry.card, entry.number, loaded.task, loaded.head, base, limits, self._recorder, golden, entry.record
        )

    def heads_on(self, served: ServedModel) -> list[HeadServed]:
        """Those that answer from a loaded base's features now. From any thread."""
        return [rider.served for rider in self._riders_on(served) if isinstance(rider.served, HeadServed)]

    def heads_hold(self, served: ServedModel, runtime: Runtime, checks: Mapping[HeadServed, HeadCheck]) -> None:
        """Notes how heads on a loaded base did on the runtime that takes its place."""
        for rider in self._riders_on(served):
            found = checks.get(rider.served) if isinstance(rider.served, HeadServed) else None
            if found is not None:
                rider.proven[check_key(runtime)] = found

    def stands_in(self, served: ServedModel) -> bool:
        """Whether a network is the fp32 runtime of a base, for heads. From any thread."""
        book = self._books.get(served.name)
        return book is not None and bool(book.primary.stands_in_for)

    def _riders_on(self, served: ServedModel) -> list[ModelVersion]:
        book = self._books.get(served.name)
        entry = None if book is None else book.entries.get(served.version)
        return [] if entry is None or entry.served is not served else [*entry.riders]

    async def _unload_head(self, entry: ModelVersion, served: HeadServed | None, reason: str) -> tuple[int, int]:
        """Gives what the head held, twice: no measurement could tell kilobytes."""
        loaded, entry.head = entry.head, None
        assert loaded is not None
        if served is not None:
            await served.close()
        self._recorder.model_unloaded(entry.name, entry.number)
        held = loaded.head.memory_bytes
        loaded.head.free()
        entry.loading = entry.unloading = None
        self._move(entry, ModelState.UNAVAILABLE, reason)
        return held, held

    # ── how a load ends ─────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _failing(self, entry: ModelVersion) -> Iterator[None]:
        """A load that fails in the block leaves its reason."""
        fields = {"model": entry.name, "version": entry.number}
        try:
            yield
        except MemoryFull as error:  # there may be room at the next call
            log.warning("there is no room for a model", **fields, reason=error.message)
            entry.no_room = NoRoom(error.message, error.retry_after_s)
            self._move(entry, ModelState.UNAVAILABLE, error.message)
        except NotReady as error:
            log.error("model is unavailable", **fields, reason=error.message)
            self._fail(entry, error.message)
        except Exception:  # the loader promises NotReady; a model must not stay LOADING for ever where it errs
            log.exception("loading failed", **fields)
            self._fail(entry, "loading failed; the server's log has the details")

    def _fail(self, entry: ModelVersion, reason: str) -> None:
        entry.comes_back = False  # what is broken waits for somebody to look at it
        self._move(entry, ModelState.UNAVAILABLE, reason)


@contextmanager
def staying(*entries: ModelVersion) -> Iterator[None]:
    """Versions that may not make room for others in the block."""
    for entry in entries:
        entry.awaited += 1
    try:
        yield
    finally:
        for entry in entries:
            entry.awaited -= 1


def queue_depth(entry: ModelVersion) -> int:
    """Rows that wait for a version; 0 while it is away."""
    return 0 if entry.served is None else entry.served.queue_depth

"""Heads: versions without a network of their own. They are read in milliseconds, proved on their base, and go where it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from model_zoo.golden_items import read_golden_items
from service.errors import MemoryFull, NotReady, QueueFull
from service.observability.log import logger
from service.registry.background import in_daemon
from service.registry.entry import Entry, NoRoom
from service.registry.golden import answers_problem, items_of
from service.registry.head_served import HeadServed
from service.registry.loader import LoadedHead
from service.registry.making_room import MakingRoom
from service.registry.options import limits_of
from service.registry.served import ServedModel
from service.registry.states import ModelState
from service.runtime.memory import give_back
from service.types import Row

log = logger(__name__)

GOLDEN_CHECK_S = 60.0
"""How long the golden check of a head may wait in the base's queue."""
LONGEST_PAUSE_S = 0.1
GIVE_BACK_S = 1.0
"""After the last of several heads was loaded."""


class LoadingHeads(MakingRoom):
    """A registry that puts heads on loaded bases."""

    _giving_back: asyncio.TimerHandle | None = None

    def _begin_load(self, entry: Entry) -> asyncio.Task[None]:
        """Has a version loaded; the task never raises."""
        raise NotImplementedError

    async def _load_head(self, entry: Entry) -> None:
        """Brings the base, reads the head, and asks it for its golden items in one batch with whoever else is there."""
        with self._failing(entry), awaited(entry):
            base = entry.base
            if base is None:
                raise NotReady("its base is not in the zoo")
            await self._bring(base)
            began = time.monotonic()
            loaded = await in_daemon(partial(self._loader.load_head, entry.card), f"load-{entry.key}")
            try:
                asked = None
                while base.served is None or base.served.runtime is not asked:  # it went, or was exchanged meanwhile
                    while not base.answers():
                        await self._bring(base)
                    on_base = self._on_base(entry, loaded)
                    asked = on_base.runtime
                    problem = await _head_problem(on_base, loaded)
                    if problem is not None:
                        raise NotReady(f"the golden check failed: {problem}")
            except BaseException:
                loaded.head.free()
                raise
            self._enter_head(entry, loaded, time.monotonic() - began)

    async def _bring(self, base: Entry) -> None:
        """Has a base loaded for a head. Raises NotReady, MemoryFull."""
        if base.unloading is not None:
            await asyncio.shield(base.unloading)
        if not base.answers():
            await asyncio.shield(self._begin_load(base))
        if base.state is ModelState.UNAVAILABLE:
            if base.no_room is not None:
                raise MemoryFull(*base.no_room)
            raise NotReady(f"its base {base.name!r} could not be loaded: {base.reason}")

    def _enter_head(self, entry: Entry, loaded: LoadedHead, load_s: float) -> None:
        """A head was read and is right: from now on it answers, whenever its base does."""
        assert entry.base is not None
        # Without the golden items, which are a hundred times the head: it is held to them once.
        entry.head, entry.served = replace(loaded, golden=()), self._on_base(entry, loaded)
        entry.proven_in = entry.served.runtime.precision
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
        self._giving_back = loop.call_later(GIVE_BACK_S, lambda: in_daemon(give_back, "give-back"))

    def _on_base(self, entry: Entry, loaded: LoadedHead) -> HeadServed:
        assert entry.base is not None
        base = entry.base.served
        assert isinstance(base, ServedModel)
        limits = limits_of(entry.options)
        golden = partial(read_golden_items, entry.name, entry.version.golden) if entry.version is not None else tuple
        return HeadServed(entry.card, entry.number, loaded.task, loaded.head, base, limits, self._recorder, golden)

    def heads_on(self, served: ServedModel) -> list[HeadServed]:
        """Those that answer from a loaded base's features now. From any thread."""
        book = self._books.get(served.name)
        entry = None if book is None else book.entries.get(served.version)
        if entry is None or entry.served is not served:
            return []
        return [rider.served for rider in [*entry.riders] if isinstance(rider.served, HeadServed)]

    async def _unload_head(self, entry: Entry, served: HeadServed | None, reason: str) -> tuple[int, int]:
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
    def _failing(self, entry: Entry) -> Iterator[None]:
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

    def _fail(self, entry: Entry, reason: str) -> None:
        entry.comes_back = False  # what is broken waits for somebody to look at it
        self._move(entry, ModelState.UNAVAILABLE, reason)


@contextmanager
def awaited(entry: Entry) -> Iterator[None]:
    """Somebody waits for a version: neither it nor its base may go before he got in."""
    waits = [entry] if entry.base is None else [entry, entry.base]
    for each in waits:
        each.awaited += 1
    try:
        yield
    finally:
        for each in waits:
            each.awaited -= 1


async def _head_problem(served: HeadServed, loaded: LoadedHead) -> str | None:
    """What is wrong with a head's answers to its golden items, all in one batch of the base; None if nothing is."""
    if not loaded.golden:
        return None
    items = items_of(served.card, loaded.golden)
    base = served.base
    while True:
        try:
            base.enter(len(items))
            break
        except QueueFull as full:  # callers come first
            await asyncio.sleep(min(full.retry_after_s, LONGEST_PAUSE_S))
    try:
        outcomes = await served.submit(items, time.monotonic() + GOLDEN_CHECK_S).result()
    finally:
        base.leave(len(items))
    rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
    if len(rows) < len(items):
        return "it could not answer; the server's log says why"
    return answers_problem(served.card, served.runtime.precision, [row.tensors for row in rows], loaded.golden)


def queue_depth(entry: Entry) -> int:
    """Rows that wait for a version; 0 while it is away."""
    return 0 if entry.served is None else entry.served.queue_depth

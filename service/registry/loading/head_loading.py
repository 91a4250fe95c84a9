"""Loading heads: versions without a network of their own. They are read in milliseconds and checked on their base.

base runs in fp32, or the head holds on its tier and precision ──► the head runs on the base
the head does not hold there                                  ──► it runs on an fp32 runtime of the base, `NAME@fp32`, which
                                                                  exists while a head needs it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from model_zoo.cards.card import Card
from service.engine.served_head import ServedHead
from service.engine.served_model import ServedModel
from service.errors import MemoryFull, NotReady, ZooError
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.background import in_daemon
from service.registry.loading.eviction import not_evicted
from service.registry.loading.head_queue_check import check_in_queue
from service.registry.loading.loaded import LoadedHead, ModelLoader
from service.registry.loading.loads import begin_load, recording_failure
from service.registry.loading.network_loading import NetworkLoader
from service.registry.loading.served_heads import HeadServer
from service.registry.loading.unloading import Unloader
from service.registry.model_record import ModelRecord
from service.registry.model_table import ModelTable
from service.registry.model_version import EAGER_FP32, ModelVersion, fp32_name, queue_depth
from service.registry.states import ModelState
from service.runtime.memory import trim_heap
from service.runtime.network import Runtime
from service.settings import ModelOptions
from service.verification.check_key import check_key, tier_and_precision
from service.verification.head_checks import HeadCheck

log = logger(__name__)

GIVE_BACK_S = 1.0
"""Time from the last load of a head until free memory is returned to the system."""


class HeadLoader:
    """Puts heads on loaded bases. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        loader: ModelLoader,
        recorder: Recorder,
        networks: NetworkLoader,
        unloader: Unloader,
        head_server: HeadServer,
        defaults: Callable[[Card], ModelOptions],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`defaults` has a value for every option of a card's model."""
        self._table = table
        self._loader = loader
        self._recorder = recorder
        self._networks = networks
        self._unloader = unloader
        self._head_server = head_server
        self._defaults = defaults
        self._clock = clock
        self._giving_back: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Returns no more memory to the system."""
        if self._giving_back is not None:
            self._giving_back.cancel()

    async def load(self, version: ModelVersion) -> None:
        """Loads a head that is LOADING, on a runtime of its base on which it holds: the base's own, else an fp32 one beside it.

        A failure is kept with the version and never raised.
        """
        with recording_failure(self._table, version), not_evicted(version):
            base = version.own_base
            if base is None:
                raise NotReady("its base is not in the zoo")
            self._attach(version, base)
            with not_evicted(base):
                await self._load_base(base)
                began = time.monotonic()
                loaded = await in_daemon(partial(self._loader.load_head, version.card), f"load-{version.key}")
                try:
                    entered = await self._try_to_enter(version, loaded, began)
                except BaseException:
                    loaded.head.free()
                    raise
            if not entered:  # from here on the base may be evicted for its fp32 runtime
                await self._load_in_fp32(version, loaded, self._fp32_runtime(base), began)

    async def _load_in_fp32(self, version: ModelVersion, loaded: LoadedHead, base: ModelVersion, began: float) -> None:
        """Puts a head on the fp32 runtime of its base."""
        self._attach(version, base)
        try:
            with not_evicted(base):
                if not await self._try_to_enter(version, loaded, began):
                    raise NotReady("it does not hold on an fp32 runtime of its base either")
        except BaseException:
            loaded.head.free()
            self._unloader.detach(version)
            raise

    async def _try_to_enter(self, version: ModelVersion, loaded: LoadedHead, began: float) -> bool:
        """Puts a head on its base if it holds there as the base runs now. False where an fp32 runtime may help.

        Raises NotReady for a head that does not hold in fp32, MemoryFull.
        """
        base = version.base
        assert base is not None
        while True:
            while not base.answers():
                await self._load_base(base)
            on_base = self._head_server.serve(version, loaded)
            runtime = on_base.runtime
            found = await check_in_queue(on_base, loaded.golden)
            if base.served is None or base.served.runtime is not runtime:
                continue  # the check says nothing of the runtime that came in its place
            version.head_checks[check_key(runtime)] = found
            if found.problem is None:
                self._enter(version, loaded, time.monotonic() - began)
                return True
            if tier_and_precision(runtime) == EAGER_FP32 or base.fp32_of:
                raise NotReady(found.problem)
            log.info("a head needs an fp32 runtime", model=version.name, version=version.number, reason=found.problem)
            return False

    def _enter(self, version: ModelVersion, loaded: LoadedHead, load_s: float) -> None:
        """Puts a checked head into service; from now on it answers whenever its base does."""
        assert version.base is not None
        # Golden items are a hundred times the head. They were used, and are not kept.
        version.head, version.served = replace(loaded, golden=()), self._head_server.serve(version, loaded)
        version.base.heads.append(version)
        version.load_s, version.last_used, version.reloads_on_call = load_s, self._clock(), True
        held = loaded.head.memory_bytes
        self._recorder.model_loaded(version.name, version.number, load_s, held, lambda: queue_depth(version))
        self._table.move(version, ModelState.READY, "")
        self._give_back_soon()
        log.info(
            "model is ready",
            model=version.name,
            version=version.number,
            seconds=round(load_s, 3),
            bytes=held,
            base=version.base.name,
        )

    def _attach(self, version: ModelVersion, base: ModelVersion) -> None:
        """Makes a base carry a head from now on."""
        if version.base is not base:
            self._unloader.detach(version)
            version.base = base

    async def _load_base(self, base: ModelVersion) -> None:
        """Has a base loaded for a head. Raises NotReady, MemoryFull."""
        if base.unloading is not None:
            await asyncio.shield(base.unloading)
        if not base.answers():
            await asyncio.shield(begin_load(self._table, base, self._networks.load))
        if base.state is ModelState.UNAVAILABLE:
            if base.shortage is not None:
                raise MemoryFull(*base.shortage)
            raise NotReady(f"its base {base.name!r} could not be loaded: {base.reason}")

    def _give_back_soon(self) -> None:
        """Golden items are megabytes, and the remains of one head lie between those of others. malloc fits other objects into
        such holes badly: a hundred heads held 280 MiB of them."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        loop = asyncio.get_running_loop()
        self._giving_back = loop.call_later(GIVE_BACK_S, lambda: in_daemon(trim_heap, "give-back"))

    # ── the fp32 runtime of a base ────────────────────────────────────────────────────────────────────────────────────

    def _fp32_runtime(self, base: ModelVersion) -> ModelVersion:
        """The fp32 runtime of a base, for those of its heads that do not hold on its own; created by the first that needs it.

        It is a model of its own in the ledger, in the metrics and in lists, with the options of the base.
        """
        name = fp32_name(base.name)
        record = self._table.get(name)
        if record is None:
            given = self._table.record(base.name).given.model_copy(update={"precision": "fp32", "pinned": None})
            version = ModelVersion(base.card, self._defaults(base.card), given, reloads_on_call=True, fp32_of=base.name)
            record = ModelRecord(name, given, [version], tuned=False)
            self._table.add(record)
        return record.primary

    async def move_to_fp32(self, served: ServedModel, runtime: Runtime, checks: Mapping[ServedHead, HeadCheck]) -> None:
        """Moves heads to the fp32 runtime of their base, and returns once they have no rows on the base itself.

        For heads that do not hold on `runtime`, which is about to replace the base's; `checks` say how they did there. Heads move
        even where there is no memory for the fp32 runtime: the next call loads it.
        """
        self._head_server.note_checks(served, runtime, checks)
        moving = [head for head in self._head_server.versions_on(served) if head.served in checks]
        if not moving:
            return
        own_base = moving[0].own_base
        assert own_base is not None
        base = self._fp32_runtime(own_base)
        base.pending_moves += 1
        try:
            with not_evicted(own_base):  # which is about to be faster for all other callers
                try:
                    while not base.answers():
                        await self._load_base(base)
                except ZooError as error:
                    log.warning("an fp32 runtime for heads is not loaded yet", model=base.name, reason=error.message)
            for head in moving:
                self._move(head, base)
        finally:
            base.pending_moves -= 1
            self._unloader.release_fp32(base)
        for served_head in checks:
            await served_head.idle()

    def _move(self, version: ModelVersion, base: ModelVersion) -> None:
        """Moves a READY head to another base. A head that was unloaded meanwhile is left alone."""
        if version.head is None or version.base is base or version.state is not ModelState.READY:
            return
        self._unloader.detach(version)
        version.base = base
        base.heads.append(version)
        version.served = self._head_server.serve(version, version.head) if base.served is not None else None
        self._table.changed(self._table.record(version.name))
        log.info(
            "a head moves to an fp32 runtime",
            model=version.name,
            version=version.number,
            base=base.name,
            reason=version.note,
        )

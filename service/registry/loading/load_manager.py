"""Which versions are loaded: calls wait for a load, users ask for loads and unloads.

Lives on the event loop; networks are loaded one after another, each in a thread of its own, so that loading never takes more than
one core from serving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from model_zoo.cards.card import Card
from service.engine.served_head import Served
from service.errors import DeadlineExceeded, IllegalMove
from service.observability.log import logger
from service.registry.loading.eviction import Evictor, not_evicted
from service.registry.loading.head_loading import HeadLoader
from service.registry.loading.loads import begin_load
from service.registry.loading.network_loading import NetworkLoader
from service.registry.loading.unloading import Unloader
from service.registry.model_status import ModelStatus, Unloaded
from service.registry.model_table import ModelTable
from service.registry.model_version import NOT_LOADED, ModelVersion, load_error, not_ready
from service.registry.states import ModelState

log = logger(__name__)


class LoadManager:
    """Loads and unloads versions. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        networks: NetworkLoader,
        heads: HeadLoader,
        unloader: Unloader,
        evictor: Evictor,
        is_here: Callable[[Card], bool] = lambda card: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_here` tells whether the files of a card are on this machine. `clock` is the event loop's."""
        self._table = table
        self._networks = networks
        self._heads = heads
        self._unloader = unloader
        self._evictor = evictor
        self._is_here = is_here
        self._clock = clock

    # ── for calls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> Served:
        """As `ModelTable.resolve`, but waits for a version that is loaded at a call; all callers wait for one load.

        These are versions that were evicted, tuned versions, and with `on_demand` every model whose files are here, except those
        that were unloaded by hand or could not be loaded. `deadline` is absolute on the registry's clock; None means the model's
        default timeout. Raises as `resolve` does; DeadlineExceeded; MemoryFull where there is no memory.
        """
        found = self._table.record(name).pick(version)
        if found.answers() or not self._loads_on_call(found):
            return self._table.admit(found)
        until = self._table.default_deadline(found) if deadline is None else deadline
        if until <= self._clock():
            raise DeadlineExceeded("before the request arrived")
        try:
            async with asyncio.timeout_at(until):
                with not_evicted(found):
                    while not found.answers():
                        await self._bring_back(found)
                    return self._table.admit(found)
        except TimeoutError:
            raise DeadlineExceeded("while the model was loading, or waiting for memory to load into") from None

    def _loads_on_call(self, version: ModelVersion) -> bool:
        """Whether a call that finds a version unloaded waits for its load."""
        if version.deleting:
            return False
        if version.head is not None and version.base is not None:
            return self._loads_on_call(version.base)
        return version.reloads_on_call and (version.reason != NOT_LOADED or self._is_here(version.card))

    async def _bring_back(self, version: ModelVersion) -> None:
        """One step of a version towards READY. Raises the error of a load that fails."""
        if version.deleting:
            raise not_ready(version)
        if version.head is not None and version.base is not None:  # a head whose base was unloaded
            await self._bring_back(version.base)
            return
        if version.unloading is not None:
            await asyncio.shield(version.unloading)
            return
        if version.state is ModelState.UNAVAILABLE:
            self._evictor.check(version)  # refused before the version is LOADING
            log.info("loading for a call", model=version.name, version=version.number)
        await asyncio.shield(self.begin(version))
        if version.state is ModelState.UNAVAILABLE:
            raise load_error(version)

    # ── for users ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str, version: str = "") -> ModelStatus:
        """Makes a model READY; one that is READY stays as it is, and a load that runs is waited for.

        Without a version the stable one, or the newest where none is stable. A caller that leaves does not stop the load.
        Raises NotFound; NotReady with the reason; MemoryFull where the budget has no memory left; IllegalMove while it unloads.
        """
        await asyncio.shield(self.begin_load(name, version))
        found = self._table.version(name, version)
        if found.state is ModelState.UNAVAILABLE:
            raise load_error(found)
        if found.head is not None and found.served is None:  # its base was unloaded, or could not be loaded
            raise not_ready(found)
        return self._table.status(name, version)

    async def load_version(self, version: ModelVersion) -> None:
        """As `load`, after an unload that runs. Raises NotReady, MemoryFull; IllegalMove where the version is being deleted."""
        if version.unloading is not None and not version.deleting:
            await asyncio.shield(version.unloading)
        await self.load(version.name, str(version.number))

    def begin_load(self, name: str, version: str = "") -> asyncio.Task[None]:
        """Starts a load and returns its task, which ends in every case and never raises. See `load`."""
        return self.begin(self._table.version(name, version))

    def begin(self, version: ModelVersion) -> asyncio.Task[None]:
        """As `begin_load`, for a version that was looked up."""
        if version.deleting:
            raise IllegalMove(f"{version.title} is being deleted")
        if version.is_head:
            if version.state is ModelState.READY and version.served is None and version.base is not None:
                return self.begin(version.base)  # only the base is missing; it brings its heads back
            return begin_load(self._table, version, self._heads.load)
        return begin_load(self._table, version, self._networks.load)

    async def unload(self, name: str, version: str = "") -> Unloaded:
        """Takes a model out of service once its rows in flight are answered, and says how much memory was freed.

        It stays unloaded until somebody loads it. Without a version all versions are unloaded. Raises NotFound, and IllegalMove
        while it loads or unloads, or while it carries heads.
        """
        record = self._table.record(name)
        versions = [record.find(version)] if version else list(record.versions.values())
        for one in versions:
            self._unloader.check(one)
        unloads = [
            self._unloader.begin(one, "unloaded", reloads_on_call=False)
            for one in versions
            if one.state is ModelState.READY
        ]
        for one in versions:
            one.reloads_on_call = False
        # From here on no call is admitted; the rest happens even if the caller leaves.
        done = await asyncio.shield(asyncio.gather(*unloads))
        return Unloaded(self._table.status(name), sum(held for held, _ in done), sum(back for _, back in done))

    def close(self) -> None:
        """Stops loading; a load whose thread runs is left alone. No other method may be called after this one."""
        self._heads.close()
        self._evictor.close()
        for version in self._table.versions():
            if version.loading is not None and not version.loading.done():
                version.loading.cancel()

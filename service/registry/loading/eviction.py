"""Keeping to the memory budget: least recently used models are unloaded until another one fits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import MemoryFull
from service.observability.log import logger
from service.registry.loading.eviction_policy import choose_victims
from service.registry.loading.memory_ledger import NOTHING, Holding, Ledger
from service.registry.loading.unloading import Unloader
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion
from service.runtime.precision import load_precision

log = logger(__name__)


class Evictor:
    """Frees memory by the ledger's budget. All methods belong to the event loop."""

    def __init__(self, table: ModelTable, ledger: Ledger, unloader: Unloader) -> None:
        self._table = table
        self._ledger = ledger
        self._unloader = unloader
        self.lock = asyncio.Lock()
        """Held while a network is loaded, and while models are evicted for the budget: one at a time."""
        self._restoring: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Ends the eviction that `restore_budget` began."""
        if self._restoring is not None:
            self._restoring.cancel()

    # ── before a load ─────────────────────────────────────────────────────────────────────────────────────────────────

    def need(self, version: ModelVersion) -> Holding:
        """The memory that a version will hold once it is loaded; none is foreseen for a head."""
        if version.is_head:
            return NOTHING
        return self._ledger.need(version.card, version.key, load_precision(version.options.precision))

    def check(self, version: ModelVersion) -> None:
        """Raises MemoryFull where a load could not get its memory, however long it waited."""
        need = self.need(version)
        if self._ledger.missing(need) and not self.lock.locked():
            try:
                choose_victims(self._ledger, version, need, self._table.versions())
            except MemoryFull as error:
                if error.retry_after_s is None:
                    raise

    async def make_room(self, version: ModelVersion) -> None:
        """Unloads least recently used models until the version fits. The caller holds the lock. Raises MemoryFull."""
        need = self.need(version)
        if not self._ledger.missing(need):
            return
        for unloading in [other.unloading for other in self._table.versions() if other.unloading is not None]:
            await asyncio.shield(unloading)
        while self._ledger.missing(need):
            try:
                await self._evict_one(version, need)
            except MemoryFull as error:
                # Calls that wait for this model have deadlines, so they may wait for other models to be idle; a load may not.
                if error.retry_after_s is None or not version.awaited:
                    raise
                await self._wait_for_idle_model(error.retry_after_s)

    async def _evict_one(self, version: ModelVersion, need: Holding) -> None:
        """One victim at a time, so that each unload is measured and the next choice sees callers that came meanwhile."""
        victim = choose_victims(self._ledger, version, need, self._table.versions())[0]
        reason = f"unloaded to make room for {version.key!r}; a call brings it back"
        await asyncio.shield(self._unloader.begin(victim, reason, reloads_on_call=True))

    async def _wait_for_idle_model(self, timeout_s: float) -> None:
        """Returns when a model that is in use now becomes idle, and after `timeout_s` in any case."""
        busy = [v.served for v in self._table.versions() if v.served is not None and v.served.rows_in_flight]
        waits = [asyncio.ensure_future(served.idle()) for served in busy]
        try:
            if waits:
                await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)  # the callers that waited for their model are about to be admitted
        finally:
            for wait in waits:
                wait.cancel()

    # ── after a load ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def keep_to_budget(self, version: ModelVersion) -> None:
        """Evicts others where a model holds more than was foreseen, as far as that is possible now. The caller holds the lock.

        Does not wait for callers inside other models: the first callers of the loaded model, and the next load, wait for this.
        """
        try:
            while self._ledger.missing(need := self._change_by_unloads()):
                await self._evict_one(version, need)
        except MemoryFull:
            log.warning("models hold more than the budget", bytes=self._ledger.total, budget_bytes=self._ledger.budget)
        except Exception:  # the victim's unload failed; the loaded model answers all the same
            log.exception("memory could not be freed", model=version.name, version=version.number)

    def restore_budget(self, version: ModelVersion) -> None:
        """Has models evicted in the background if the budget is exceeded, as where versions shared weights before."""
        running = self._restoring is not None and not self._restoring.done()  # which goes on until everything fits
        if self._ledger.missing(NOTHING) and not running:
            work = self._restore_budget(version)
            self._restoring = asyncio.create_task(work, name=f"budget-{version.key}")

    async def _restore_budget(self, version: ModelVersion) -> None:
        async with self.lock:
            await self.keep_to_budget(version)

    def _change_by_unloads(self) -> Holding:
        """No new memory; memory that is being unloaded counts as freed."""
        holding = [v for v in self._table.versions() if self._ledger.holding(v.key) is not None]
        staying = self._ledger.total_of(v.key for v in holding if v.unloading is None)
        return Holding(staying - self._ledger.total_of(v.key for v in holding))


@contextmanager
def not_evicted(*versions: ModelVersion) -> Iterator[None]:
    """Versions that may not be evicted in the block."""
    for version in versions:
        version.waiters += 1
    try:
        yield
    finally:
        for version in versions:
            version.waiters -= 1

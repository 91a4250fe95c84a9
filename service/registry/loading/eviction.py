"""Room in the memory budget: others are unloaded until a model fits, used longest ago first."""

from __future__ import annotations

import asyncio

from service.errors import MemoryFull
from service.observability.log import logger
from service.registry.loading.eviction_policy import to_evict
from service.registry.loading.memory_ledger import NOTHING, Holding
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion

log = logger(__name__)


class MakingRoom(ModelTable):
    """A registry that keeps to the ledger's budget."""

    def _begin_unload(self, entry: ModelVersion, reason: str, *, comes_back: bool) -> asyncio.Task[tuple[int, int]]:
        """Takes a version out of service; the task gives what it held and what came back, in bytes."""
        raise NotImplementedError

    async def _make_room(self, entry: ModelVersion, need: Holding) -> None:
        """Unloads what was used longest ago until `need` fits. Raises MemoryFull where that cannot be."""
        if not self.ledger.missing(need):
            return
        for leaving in [other.unloading for other in self._all() if other.unloading is not None]:
            await asyncio.shield(leaving)
        while self.ledger.missing(need):
            try:
                await self._evict_one(entry, need)
            except MemoryFull as error:
                # Calls that wait for this model have deadlines, so they may wait for others to be done; who only loads may not.
                if error.retry_after_s is None or not entry.expected:
                    raise
                await self._somebody_idle(error.retry_after_s)

    async def _evict_one(self, entry: ModelVersion, need: Holding) -> None:
        """One after another goes, so that each is measured, and who is next is asked anew: somebody may have come meanwhile."""
        victim = to_evict(self.ledger, entry, need, self._all())[0]
        reason = f"unloaded to make room for {entry.key!r}; a call brings it back"
        await asyncio.shield(self._begin_unload(victim, reason, comes_back=True))

    async def _somebody_idle(self, most_s: float) -> None:
        """Returns when a model that is in use now falls idle, and after `most_s` in any case."""
        busy = [e.served for e in self._all() if e.served is not None and e.served.rows_in_flight]
        waits = [asyncio.ensure_future(served.idle()) for served in busy]
        try:
            if waits:
                await asyncio.wait(waits, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)  # those who waited for their model are about to get in
        finally:
            for wait in waits:
                wait.cancel()

    async def _keep_to_budget(self, entry: ModelVersion) -> None:
        """A model may hold more than was foreseen: others make room for that, too, as far as they can now.

        Waits for nobody inside another: the model answers already, but its first callers, and the next load, wait for this.
        """
        try:
            while self.ledger.missing(need := self._less_what_leaves()):
                await self._evict_one(entry, need)
        except MemoryFull:
            log.warning("models hold more than the budget", bytes=self.ledger.total, budget_bytes=self.ledger.budget)
        except Exception:  # of one that was to go; the model that came answers all the same
            log.exception("room could not be made", model=entry.name, version=entry.number)

    def _less_what_leaves(self) -> Holding:
        """Nothing more, with what is being unloaded counted as gone."""
        every = [other for other in self._all() if self.ledger.holding(other.key) is not None]
        staying = self.ledger.total_of(other.key for other in every if other.unloading is None)
        return Holding(staying - self.ledger.total_of(other.key for other in every))

    def _need(self, entry: ModelVersion) -> Holding:
        """What a version will hold once it is loaded; a head holds nothing that is foreseen."""
        return NOTHING if entry.is_head else self.ledger.need(entry.card, entry.key, entry.options.precision or "auto")

    def _check_room(self, entry: ModelVersion) -> None:
        """Raises MemoryFull where a load could find no room, however long it waited."""
        need = self._need(entry)
        if self.ledger.missing(need) and not self._turn.locked():
            try:
                to_evict(self.ledger, entry, need, self._all())
            except MemoryFull as error:
                if error.retry_after_s is None:
                    raise

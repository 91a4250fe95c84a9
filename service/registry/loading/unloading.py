"""Taking versions out of service: networks, whose memory is measured, and heads, which leave their base."""

from __future__ import annotations

import asyncio
from functools import partial

from service.engine.served_head import ServedHead
from service.engine.served_model import ServedModel
from service.errors import IllegalMove
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.background import in_daemon
from service.registry.loading.memory_ledger import Ledger, Measurement, freed
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState

log = logger(__name__)


class Unloader:
    """Unloads versions, and removes fp32 runtimes that no head needs any more. All methods belong to the event loop."""

    def __init__(self, table: ModelTable, ledger: Ledger, recorder: Recorder) -> None:
        self._table = table
        self._ledger = ledger
        self._recorder = recorder

    def begin(self, version: ModelVersion, reason: str, *, reloads_on_call: bool) -> asyncio.Task[tuple[int, int]]:
        """Takes a version out of service; the task returns the bytes that it held and the bytes that were freed."""
        served, version.served = version.served, None
        version.reloads_on_call = reloads_on_call
        for head in version.heads:  # rows inside a head are inside the base, which waits for them
            head.served = None
        if version.head is not None:
            self.detach(version)
        self._table.move(version, ModelState.UNLOADING, "")
        if isinstance(served, ServedModel):
            work = self._unload_network(version, served, reason)
        else:
            work = self._unload_head(version, served, reason)
        version.unloading = asyncio.create_task(work, name=f"unload-{version.key}")
        return version.unloading

    @staticmethod
    def check(version: ModelVersion) -> None:
        """Raises IllegalMove for a version that cannot be unloaded now."""
        if version.state not in (ModelState.READY, ModelState.UNAVAILABLE):
            raise IllegalMove(f"{version.title} is {version.state}; it can be unloaded when it is READY")
        if version.heads:
            names = ", ".join(sorted({head.name for head in version.heads}))
            raise IllegalMove(f"{version.title} carries {names}, which cannot answer without it; unload those first")

    def detach(self, version: ModelVersion) -> None:
        """Takes a head off the version that carries it. An fp32 runtime that carries no head any more is unloaded."""
        base = version.base
        if base is None:
            return
        if version in base.heads:
            base.heads.remove(version)
        if base.fp32_of:
            version.base = version.own_base
            self.release_fp32(base)

    def release_fp32(self, base: ModelVersion) -> None:
        """Unloads an fp32 runtime, and removes it once it is unloaded, unless a head needs it or will need it soon."""
        if base.heads or base.waiters or base.pending_moves or any(v.base is base for v in self._table.versions()):
            return
        if base.state is ModelState.READY:
            unloading = self.begin(base, "no version needs it any more", reloads_on_call=True)
            unloading.add_done_callback(lambda _: self.release_fp32(base))
        elif base.state is ModelState.UNAVAILABLE and (record := self._table.get(base.name)) is not None:
            self._table.remove(record)

    async def _unload_network(self, version: ModelVersion, served: ServedModel, reason: str) -> tuple[int, int]:
        name, number, runtime = served.name, served.version, served.runtime
        await served.close()
        self._recorder.model_unloaded(name, number)
        weights = runtime.memory_bytes
        measurement = await in_daemon(partial(Measurement, self._ledger), f"unload-{version.key}")
        try:
            runtime.free()
        except Exception:  # the version must not stay UNLOADING for ever
            log.exception("a network could not be freed completely", model=name, version=number)
        del served, runtime  # tokenizers and the like are freed with the last reference
        measured = await in_daemon(partial(freed, measurement, weights), f"unload-{version.key}")
        held = self._ledger.unloaded(version.key, measured)
        version.loading = version.unloading = None
        self._table.move(version, ModelState.UNAVAILABLE, reason)
        freed_bytes = weights if measured is None else measured
        log.info(
            f"freed {freed_bytes / 1e6:.1f} of {held / 1e6:.1f} MB",
            model=name,
            version=number,
            reason=reason,
            freed_bytes=freed_bytes,
            held_bytes=held,
            measured=measured is not None,
        )
        return held, freed_bytes

    async def _unload_head(self, version: ModelVersion, served: ServedHead | None, reason: str) -> tuple[int, int]:
        """Both numbers are the bytes of the head: a measurement cannot tell kilobytes."""
        loaded, version.head = version.head, None
        assert loaded is not None
        if served is not None:
            await served.close()
        self._recorder.model_unloaded(version.name, version.number)
        held = loaded.head.memory_bytes
        loaded.head.free()
        version.loading = version.unloading = None
        self._table.move(version, ModelState.UNAVAILABLE, reason)
        return held, held

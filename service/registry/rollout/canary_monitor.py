"""Watches canaries: one that leaves its bounds loses its share at once on this server, and on all servers once that is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.model_record import ModelRecord, StoppedCanary
from service.registry.rollout.canary import Bounds, CanaryWatch
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.aliases import AliasChange, AliasSet, stop_canary

log = logger(__name__)


class CallObserver:
    """Observes the calls of a model's canary and stable version while traffic is split in one way."""

    def __init__(
        self,
        record: ModelRecord,
        watch: CanaryWatch,
        on_end: Callable[[CallObserver, bool, bool, float], None],
    ) -> None:
        """`on_end` gets this observer, whether the call was the canary's, whether the version was at fault, and the seconds."""
        self.record = record
        self.watch = watch
        self._on_end = on_end

    def attach(self) -> None:
        """Observes both versions as they are loaded now."""
        for version in self.record.in_service():
            if version.served is not None:
                is_canary = version.number == self.record.active.canary
                version.served.on_outcome = partial(self._on_end, self, is_canary)


class CanaryMonitor:
    """Owns the comparison of canaries with stable versions. All methods belong to the event loop."""

    def __init__(
        self,
        activation: AliasActivation,
        writer: AliasWriter,
        recorder: Recorder,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._activation = activation
        self._writer = writer
        self._recorder = recorder
        self._bounds = bounds
        self._clock = clock
        activation.on_split.append(self.observe)

    def observe(self, record: ModelRecord) -> None:
        """Compares the canary with the stable version from now on if traffic is split between them, and nothing otherwise."""
        for version in record.versions.values():
            if version.served is not None:
                version.served.on_outcome = None
        record.observer = None
        if record.active.canary_share:
            record.observer = CallObserver(record, CanaryWatch(self._bounds, self._clock), self._call_ended)
            record.observer.attach()

    def _call_ended(self, observer: CallObserver, is_canary: bool, fault: bool, seconds: float) -> None:
        """A call of the canary, or of the stable version, has ended."""
        record = observer.record
        if record.observer is not observer:  # the call began when traffic was split otherwise
            return
        reason = observer.watch.observe(is_canary, fault, seconds)
        canary = record.active.canary
        if reason is None or canary is None:
            return
        log.error("a canary left its bounds and lost its share", model=record.name, version=canary, reason=reason)
        self._recorder.canary_rolled_back(record.name)
        record.stopped_canary = StoppedCanary(canary, reason)
        self._activation.activate(record)  # at once: the next call must not get the canary
        self.store_stop(record)

    def store_stop(self, record: ModelRecord) -> None:
        """Stores that the canary lost its share; where that fails, the next look at other servers tries again."""
        self._writer.run_in_background(f"keep-{record.name}", self._store_stop(record))

    async def _store_stop(self, record: ModelRecord) -> None:
        stopped = record.stopped_canary

        def change(aliases: AliasSet) -> AliasChange:
            if stopped is None or record.stopped_canary is not stopped or aliases.canary != stopped.number:
                return aliases, ()
            return stop_canary(aliases, stopped.reason) if aliases.canary_share else (aliases, ())

        try:
            await self._writer.change_now(record, change)
        except Exception:
            log.exception("the stop of a canary could not be stored yet", model=record.name)
            return
        if record.stopped_canary is stopped:
            record.stopped_canary = None

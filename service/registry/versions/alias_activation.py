"""Aliases take effect on this server: at once for loaded versions, after their load for others.

Stored aliases change here or at another server. Either way `activate` applies them: versions that they lead to are loaded, and
loaded versions that none of them names are unloaded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from service.errors import ZooError
from service.observability.log import logger
from service.registry.loading.load_manager import LoadManager
from service.registry.loading.unloading import Unloader
from service.registry.model_record import ModelRecord
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion
from service.registry.versions.aliases import in_effect, keep_stable, stop_canary
from service.registry.versions.damaged_versions import DamagedVersions

log = logger(__name__)

RETRY_S = 30.0
"""Time until a version that is stable elsewhere and could not be loaded here is tried again."""


class AliasActivation:
    """Applies stored aliases. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        loads: LoadManager,
        unloader: Unloader,
        damaged: DamagedVersions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._loads = loads
        self._unloader = unloader
        self._damaged = damaged
        self._clock = clock
        self._background: dict[
            str, asyncio.Task[None]
        ] = {}  # follows up changes of other servers; cancelled at the end
        self.on_split: list[Callable[[ModelRecord], None]] = []
        """Called after the split of calls that name no version has changed."""

    def close(self) -> None:
        """Cancels the work in the background."""
        for task in self._background.values():
            task.cancel()

    def activate(self, record: ModelRecord, *, loaded: int | None = None) -> None:
        """Applies the stored aliases as far as their versions are known here.

        While the new stable version is not loaded, and is not the one that was `loaded` for this change, the one before keeps
        answering. A canary that left its bounds here gets no share, whether the stored aliases say so already or not.
        """
        newer = self._damaged.left_to_newer(record.name)
        aliases = in_effect(record.stored.aliases, record.versions, newer)
        if record.stopped_canary is not None and record.stored.aliases.canary != record.stopped_canary.number:
            record.stopped_canary = None  # another version is on trial by now
        if record.stopped_canary is not None and aliases.canary is not None:
            aliases, _ = stop_canary(aliases, record.stopped_canary.reason)
        now, new = record.active.stable, record.stored.aliases.stable
        if new in newer:
            if aliases.stable is None and now in record.versions:
                aliases = keep_stable(aliases, now)
        elif now in record.versions and new not in (None, now, loaded) and not record.is_ready(new):
            aliases = keep_stable(aliases, now)
            self._load_in_background(record, new)
        if aliases == record.active:
            return
        before, record.active = record.active, aliases
        log.info("aliases changed", model=record.name, aliases=dict(aliases.targets), canary_share=aliases.canary_share)
        if before.split != aliases.split:
            for listener in self.on_split:
                listener(record)
        for number in {aliases.stable, aliases.canary} - {before.stable, before.canary}:
            if not record.is_ready(number):  # a canary gets no calls until it is loaded; calls to stable wait for it
                self._load_in_background(record, number)
        self._table.changed(record)
        for version in record.unnamed():
            self._unloader.begin(
                version, "no alias names it; a call by its number brings it back", reloads_on_call=True
            )

    def run_in_background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, unless work of this name is running already."""
        if name in self._background:
            work.close()
            return
        self._background[name] = task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self._background.pop(name, None))

    def _load_in_background(self, record: ModelRecord, number: int | None) -> None:
        """Loads a version that another server's aliases lead to, and activates the aliases then."""
        version = record.versions.get(number or 0)
        if version is not None and self._clock() >= version.retry_load_at:
            self.run_in_background(f"load {version.key}", self._load_and_activate(record, version))

    async def _load_and_activate(self, record: ModelRecord, version: ModelVersion) -> None:
        loaded = None
        try:
            await self._loads.load_version(version)
            loaded = version.number
        except ZooError as error:
            version.retry_load_at = self._clock() + RETRY_S
            log.error(
                "a version that is in service elsewhere cannot be loaded here",
                model=version.name,
                version=version.number,
                reason=error.message,
            )
        self.activate(record, loaded=loaded)

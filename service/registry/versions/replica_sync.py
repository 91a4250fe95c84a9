"""Changes by other servers on the same home and database, found by looking: periodically, and for calls to unknown versions.

cards folder    ──► pulled: known from now on, loaded when a call asks for it
versions folder ──► published: known from now on, loaded when an alias leads to it or a call asks for it
database        ──► aliases moved: they take effect once their versions are loaded
versions folder ──► deleted: callers finish, then the version is forgotten
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from model_zoo.errors import ZooModelError
from model_zoo.version_folder import MODEL_NAME
from service.database import DatabaseError
from service.errors import NotFound
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.model_table import ModelTable
from service.registry.rollout.canary_monitor import CanaryMonitor
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.aliases import in_effect
from service.registry.versions.deletion import Deletion
from service.registry.versions.discovery import Discovery
from service.registry.versions.pulled_models import PulledModels
from service.registry.versions.revisioned_aliases import NEVER_WRITTEN, NO_ALIASES, AliasStorage
from service.registry.versions.version_folders import VersionFolders

log = logger(__name__)

BETWEEN_LOOKS_S = 0.5
"""Least time between two looks that callers ask for, however many ask."""
PATIENCE_S = 5.0
"""How long a call waits for a look at most."""


class ReplicaSync:
    """Looks for changes by other servers. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        folders: VersionFolders,
        discovery: Discovery,
        storage: AliasStorage,
        activation: AliasActivation,
        canaries: CanaryMonitor,
        deletion: Deletion,
        pulled: PulledModels,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._table = table
        self._folders = folders
        self._discovery = discovery
        self._storage = storage
        self._activation = activation
        self._canaries = canaries
        self._deletion = deletion
        self._pulled = pulled
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()  # held by the look that runs
        self._requested: asyncio.Task[None] | None = None  # a look that was asked for and has not begun
        self._last_look = -BETWEEN_LOOKS_S
        self._failing = False
        self._following: asyncio.Task[None] | None = None

    async def restore(self) -> list[tuple[str, int]]:
        """Learns the versions on disk and their aliases. Returns those in service: model and number.

        Called once, before anything else. A version that cannot be read is left out, with a line in the log.
        """
        stored = await self._storage.read()
        for model, numbers in (await in_daemon(self._folders.listing_at_start, "versions")).items():
            if model in self._table:
                log.error("a tuned model has the name of one of the zoo and is left out", model=model)
                continue
            wanted = [(model, number) for number in numbers]
            published = await in_daemon(partial(self._folders.read, wanted), f"open-{model}")
            if not published:
                continue
            record = self._discovery.new_record(model, published)
            record.stored = stored.get(model, NO_ALIASES)
            newer = self._folders.damaged.left_to_newer(model)
            record.active = in_effect(record.stored.aliases, record.versions, newer)
            for alias, number in record.stored.aliases.targets.items() - record.active.targets.items():
                unreadable = self._folders.damaged.of(model).get(number)
                why = unreadable.clause if unreadable is not None else "is gone"
                instead = record.active.targets.get(alias, "none")
                log.error(
                    f"a version that an alias names {why}", model=model, alias=alias, version=number, answers=instead
                )
            self._table.add(record)
            self._canaries.observe(record)
        self._discovery.note_damage()
        return [(r.name, version.number) for r in self._table.tuned_records() for version in r.in_service()]

    def follow(self, every_s: float) -> None:
        """Looks periodically from now on, until `unfollow`."""
        self._following = asyncio.create_task(self._follow(every_s), name="follow")

    def unfollow(self) -> None:
        """Looks no more."""
        if self._following is not None:
            self._following.cancel()

    def close(self) -> None:
        """Looks no more, also not for callers."""
        self.unfollow()
        if self._requested is not None:
            self._requested.cancel()

    # ── for callers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def seek(self, name: str, version: str = "") -> None:
        """Looks at other servers if a model or a version is not known here."""
        try:
            self._table.version(name, version)
        except NotFound:
            if self.may_be_elsewhere(name):
                await self.look_soon()

    def may_be_elsewhere(self, name: str) -> bool:
        """Whether another server may have published versions of this name."""
        if self._folders.versions is None or MODEL_NAME.fullmatch(name) is None:
            return False
        record = self._table.get(name)
        return record is None or record.tuned

    async def look_soon(self, deadline: float | None = None) -> None:
        """Returns after a look that began after this call, or when time is up. All callers before that look share it."""
        if self._requested is None:
            self._requested = asyncio.create_task(self._requested_look(), name="look")
        left_s = PATIENCE_S if deadline is None else min(PATIENCE_S, deadline - self._clock())
        await asyncio.wait([self._requested], timeout=max(0.0, left_s))

    async def _requested_look(self) -> None:
        wait_s = self._last_look + BETWEEN_LOOKS_S - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        await self.look_now(requested=True)

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, every_s: float) -> None:
        while True:
            await self._sleep(every_s)
            await self.look_now()

    async def look_now(self, *, requested: bool = False) -> None:
        """As `look`, one at a time, and without raising: the log has one line until the failure ends. Known versions go on
        serving."""
        if self._folders.versions is None:
            return
        async with self._lock:
            if requested:
                self._requested = None  # a caller from here on may ask for a version that this look does not see
            self._last_look = self._clock()
            try:
                await self.look()
            except (DatabaseError, ZooModelError) as error:
                if not self._failing:
                    log.error("changes by other servers cannot be seen just now", reason=str(error))
                self._failing = True
            except Exception:
                log.exception("looking at changes by other servers failed")
            else:
                self._failing = False

    async def look(self) -> None:
        """Learns what was pulled, and what other servers published, named and deleted. Raises DatabaseError, StoreUnusable."""
        assert self._folders.versions is not None
        self._pulled.add(await self._pulled.look())
        known = {(record.name, number) for record in self._table.tuned_records() for number in record.versions}
        listing = await in_daemon(self._folders.versions.listing, "look")
        listed = {(model, number) for model, numbers in listing.items() for number in numbers}
        new = {one for one in listed - known if self.may_be_elsewhere(one[0])}
        published = await in_daemon(partial(self._folders.read, new), "look") if new else []
        revisions = await self._storage.revisions()
        held = {version.model: NEVER_WRITTEN for version in published}
        held |= {record.name: record.stored.revision for record in self._table.tuned_records()}
        changed = [model for model, revision in held.items() if revisions.get(model, revision) != revision]
        stored = await self._storage.read(changed) if changed else {}
        # From here on nothing waits: no caller meets a version without its aliases.
        for version in published:
            self._discovery.add(version)
        for model, aliases in stored.items():
            record = self._table.get(model)
            if record is not None and record.stored.revision == held[model]:  # else this server wrote meanwhile
                record.stored = aliases
                self._activation.activate(record)
        self._folders.damaged.keep(listed)
        self._discovery.note_damage()
        for record in self._table.tuned_records():
            if record.lags:
                self._activation.activate(record)
            if record.stopped_canary is not None:
                self._canaries.store_stop(record)
        self._forget(known - listed)

    def _forget(self, gone: Collection[tuple[str, int]]) -> None:
        """Forgets versions whose folders are gone. No server deletes a version that an alias names: its files were removed by
        hand, or the disk is not mounted, so it goes on serving."""
        for name, number in gone:
            record = self._table.get(name)
            version = None if record is None else record.versions.get(number)
            if record is None or version is None or version.deleting:
                continue
            if record.stored.aliases.of(number) or record.active.of(number):
                if self._folders.first_report(name, number):
                    log.error("the files of a version that is in use are gone", model=name, version=number)
                continue
            self._activation.run_in_background(f"forget {version.key}", self._deletion.forget(record, version))

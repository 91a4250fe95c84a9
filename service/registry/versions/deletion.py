"""Deletion of versions: on this server, or after another server deleted one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from model_zoo.errors import UnknownVersion, ZooModelError
from model_zoo.versions import Versions
from service.errors import IllegalMove, InternalError, ZooError
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.loading.unloading import Unloader
from service.registry.model_record import ModelRecord
from service.registry.model_table import ModelTable, numbered
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.aliases import AliasChange, AliasMove, AliasSet, drop_version, in_effect, remove_alias
from service.registry.versions.discovery import Discovery
from service.registry.versions.revisioned_aliases import (
    NO_ALIASES,
    AliasStorage,
    RevisionedAliases,
    StaleRevisionError,
)
from service.registry.versions.version_folders import VersionFolders

log = logger(__name__)


class Withdrawal:
    """Moves a version's folder aside; it can be put back until it is removed. Blocks."""

    def __init__(self, versions: Versions, name: str, number: int, what: str = "a version") -> None:
        """`what` is the version in the log."""
        self._versions = versions
        self._name = name
        self._number = number
        self._what = what
        self._taken: list[tuple[Path, int]] = []

    @property
    def freed_bytes(self) -> int:
        """Bytes on disk of the folder; 0 where another server took it."""
        return sum(size for _, size in self._taken)

    def take(self) -> None:
        """Moves the folder aside. Raises InternalError."""
        try:
            self._taken.append(self._versions.withdraw(self._name, self._number))
        except UnknownVersion:  # another server deleted it, which is what was asked for
            pass
        except ZooModelError as error:
            fields = {"model": self._name, "version": self._number, "reason": str(error)}
            log.error(f"{self._what} could not be deleted", **fields)
            raise InternalError from error

    async def put_back(self) -> None:
        """Undoes `take`. Belongs to the event loop."""
        for folder, _ in self._taken:
            work = partial(self._versions.restore, self._name, self._number, folder)
            await in_daemon(work, f"put-back-{self._name}:{self._number}")


class Deletion:
    """Deletes versions. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        unloader: Unloader,
        folders: VersionFolders,
        discovery: Discovery,
        storage: AliasStorage,
        activation: AliasActivation,
        writer: AliasWriter,
    ) -> None:
        self._table = table
        self._unloader = unloader
        self._folders = folders
        self._discovery = discovery
        self._storage = storage
        self._activation = activation
        self._writer = writer

    async def delete(self, name: str, number: int) -> int:
        """Unloads a version that no alias names, and removes its files; of a damaged one also its aliases. Returns the bytes that
        were freed on disk.

        Goes on even if the caller leaves. Raises NotFound; IllegalMove where an alias names the version, or while it is loading
        or being deleted.
        """
        known = self._table.get(name)
        if number in self._folders.damaged.of(name) and (known is None or number not in known.versions):
            return await self._writer.run_to_end(self._delete_damaged(name, number))
        record = self._table.tuned(name)
        return await self._writer.run_to_end(self._delete(record, numbered(record, number)))

    def _check_stands_in(self, record: ModelRecord, version: ModelVersion) -> None:
        """Raises IllegalMove where nothing else here could answer in place of a stable version of a newer release."""
        stable, newer = record.stored.aliases.stable, self._folders.damaged.left_to_newer(record.name)
        if stable in newer and record.active.stable == version.number:
            left, _ = drop_version(record.stored.aliases, version.number)
            if in_effect(left, record.versions.keys() - {version.number}, newer).stable is None:
                raise IllegalMove(
                    f"{version.title} answers here in place of version {stable}, which only a newer Zoo serves, and no other can"
                )

    async def _delete(self, record: ModelRecord, version: ModelVersion) -> int:
        """Lets callers of the version finish, then removes files and history together.

        Other changes of aliases and other deletions do not wait for those callers. After any failure the version is as before.
        """
        assert self._folders.versions is not None
        versions, name, number = self._folders.versions, record.name, version.number

        def change(aliases: AliasSet) -> AliasChange:
            if naming := aliases.of(number):
                which = " and ".join(repr(alias) for alias in naming)
                raise IllegalMove(f"{version.title} is {which}; point that elsewhere first")
            return drop_version(aliases, number)

        withdrawal = Withdrawal(versions, name, number)
        change(record.stored.aliases)
        self._check_stands_in(record, version)
        if version.deleting:
            raise IllegalMove(f"{version.title} is being deleted")
        if version.state is not ModelState.UNLOADING:  # an unload that runs is no obstacle
            self._unloader.check(version)
        version.deleting = True
        try:
            await self._empty(version)
            await self._writer.change_now(record, change, withdrawal.take)
        except BaseException:
            version.deleting, version.reloads_on_call = False, True
            await withdrawal.put_back()  # if the database refused the change after the folder was taken
            raise
        self._discovery.remove(record, version)
        await in_daemon(versions.remove_withdrawn, f"delete-{version.key}")
        freed = withdrawal.freed_bytes
        log.info("a version was deleted", model=name, version=number, freed_bytes=freed)
        return freed

    async def _delete_damaged(self, name: str, number: int) -> int:
        """Removes the remains of a version that cannot be read, and the aliases that name it.

        It was never loaded, so it has no callers; and its aliases could not be pointed elsewhere where it is the only version.
        """
        assert self._folders.versions is not None
        versions = self._folders.versions
        withdrawal = Withdrawal(versions, name, number, "a damaged version")
        async with self._writer.lock:
            try:
                stored = await self._remove_names(name, number, withdrawal.take)
            except BaseException:
                await withdrawal.put_back()
                raise
            self._folders.damaged.forget(name, number)
            self._discovery.note_damage()
            if (record := self._table.get(name)) is not None:
                record.stored = stored
                self._activation.activate(record)
        await in_daemon(versions.remove_withdrawn, f"delete-{name}:{number}")
        freed = withdrawal.freed_bytes
        log.info("a damaged version was deleted", model=name, version=number, freed_bytes=freed)
        return freed

    async def _remove_names(self, name: str, number: int, while_locked: Callable[[], None]) -> RevisionedAliases:
        """Removes all aliases of a version, and it from those that a rollback leads to. Returns the aliases as stored then."""
        while True:
            stored = (await self._storage.read([name])).get(name, NO_ALIASES)
            aliases = stored.aliases
            moves: list[AliasMove] = []
            for alias in aliases.of(number):
                aliases, more = remove_alias(aliases, alias)
                moves += more
            aliases, more = drop_version(aliases, number)
            moves += more
            if not moves:
                await in_daemon(while_locked, f"delete-{name}:{number}")
                return stored
            try:
                revision = await self._storage.write(name, aliases, moves, stored.revision, while_locked)
                return RevisionedAliases(aliases, revision)
            except StaleRevisionError:  # another server was faster
                continue

    async def forget(self, record: ModelRecord, version: ModelVersion) -> None:
        """Removes a version that another server deleted, once its callers here have finished."""
        version.deleting = True
        try:
            await self._empty(version)
        except ZooError as error:
            version.deleting = False
            log.error(
                "a version was deleted elsewhere and stays", model=record.name, version=version.number, reason=error
            )
            return
        self._discovery.remove(record, version)
        log.info("a version was deleted elsewhere", model=record.name, version=version.number)

    async def _empty(self, version: ModelVersion) -> None:
        """Unloads a version that is being deleted, once its load has ended and its rows in flight are answered."""
        if version.loading is not None:
            await asyncio.wait([version.loading])
        if version.unloading is not None:
            await asyncio.shield(version.unloading)
        if version.state is ModelState.READY:
            await asyncio.shield(self._unloader.begin(version, "deleted", reloads_on_call=False))

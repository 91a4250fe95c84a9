"""Changes of aliases are stored for all servers, and then take effect here.

change ──► stored, if no other server was faster ──► takes effect here
             └── another was: read, compute the change again
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

from service.registry.model_record import ModelRecord
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.aliases import AliasChange, AliasSet
from service.registry.versions.revisioned_aliases import (
    NO_ALIASES,
    AliasStorage,
    RevisionedAliases,
    StaleRevisionError,
    do_nothing,
)
from service.registry.versions.version_folders import VersionFolders, deleted_meanwhile

T = TypeVar("T")


class AliasWriter:
    """Writes aliases, one change after another. All methods belong to the event loop."""

    def __init__(self, storage: AliasStorage, folders: VersionFolders, activation: AliasActivation) -> None:
        self._storage = storage
        self._folders = folders
        self._activation = activation
        self._writes: set[asyncio.Task[Any]] = set()
        self.lock = asyncio.Lock()
        """Held while stored aliases change."""

    async def close(self) -> None:
        """Waits until changes that were begun are stored."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def change(self, record: ModelRecord, change: Callable[[AliasSet], AliasChange]) -> None:
        """Stores a change of aliases and activates it, even if the caller leaves. `change` may raise; see `change_now`."""
        await self.run_to_end(self.change_now(record, change))

    async def run_to_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` to its end even if the caller leaves: stored and active aliases must not part."""
        task = asyncio.create_task(work)
        self._writes.add(task)

        def done(task: asyncio.Task[T]) -> None:
            self._writes.discard(task)
            if not task.cancelled():
                task.exception()  # the caller gets it, if there still is one

        task.add_done_callback(done)
        return await asyncio.shield(task)

    def run_in_background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, for which `close` waits."""
        task = asyncio.create_task(work, name=name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def change_now(
        self,
        record: ModelRecord,
        change: Callable[[AliasSet], AliasChange],
        while_locked: Callable[[], None] = do_nothing,
    ) -> None:
        """As `change`, within the caller's task. `change` is called again, with the present aliases, where another server was
        faster.

        `while_locked` is called while no server can change the aliases; see AliasStorage.
        """
        async with self.lock:
            while True:
                stored = record.stored
                aliases, moves = change(stored.aliases)
                pointed = {number for _, number in aliases.targets.items() - stored.aliases.targets.items()}
                for number in pointed:
                    if number not in record.versions or record.versions[number].deleting:
                        raise deleted_meanwhile(number)

                def check(numbers: Collection[int] = pointed) -> None:
                    self._folders.check_exist(record.name, numbers)
                    while_locked()

                try:
                    revision = await self._storage.write(record.name, aliases, moves, stored.revision, check)
                    break
                except StaleRevisionError:
                    found = await self._storage.read([record.name])
                    record.stored = found.get(record.name, NO_ALIASES)
                    self._activation.activate(record)
            record.stored = RevisionedAliases(aliases, revision)
            moved = aliases.stable != stored.aliases.stable
            self._activation.activate(record, loaded=aliases.stable if moved else None)

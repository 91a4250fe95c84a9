"""How a version is deleted: here, or by another server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from model_zoo.errors import UnknownVersion, ZooModelError
from service.errors import IllegalMove, InternalError, ZooError
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.model_record import ModelRecord
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState
from service.registry.versions import aliases as naming
from service.registry.versions.alias_book import OutdatedError, RevisionedAliases
from service.registry.versions.alias_manager import Naming
from service.registry.versions.aliases import Change, Move, Names

log = logger(__name__)


class Forgetting(Naming):
    """A registry that lets go of versions. All methods belong to the event loop."""

    async def _deleted(self, book: ModelRecord, entry: ModelVersion) -> int:
        """Lets its callers finish, then takes away files and history at once, and gives the bytes on disk that came back.

        Nobody who names or deletes other versions waits for the callers. Whatever fails, the version is there as before.
        """
        assert self._versions is not None
        versions, name, number = self._versions, book.name, entry.number

        def change(names: Names) -> Change:
            if aliases := names.of(number):
                which = " and ".join(repr(alias) for alias in aliases)
                raise IllegalMove(f"{entry.title} is {which}; point that elsewhere first")
            return naming.forgotten(names, number)

        taken: list[tuple[Path, int]] = []

        def withdraw() -> None:
            try:
                taken.append(versions.withdraw(name, number))
            except UnknownVersion:  # somebody was faster; what was asked for is so
                pass
            except ZooModelError as error:
                log.error("a version could not be deleted", model=name, version=number, reason=str(error))
                raise InternalError from error

        change(book.kept.names)
        if entry.leaving:
            raise IllegalMove(f"{entry.title} is being deleted")
        if entry.state is not ModelState.UNLOADING:  # which is what is wanted
            self._check_unload(entry)
        entry.leaving = True
        try:
            await self._empty(entry)
            await self._renamed(book, change, withdraw)
        except BaseException:
            entry.leaving, entry.comes_back = False, True
            for folder, _ in taken:  # the database took the change back after that
                await in_daemon(partial(versions.restore, name, number, folder), f"put-back-{entry.key}")
            raise
        self._forget(book, entry)
        freed = sum(size for _, size in taken)
        await in_daemon(versions.remove_withdrawn, f"delete-{entry.key}")
        log.info("a version was deleted", model=name, version=number, freed_bytes=freed)
        return freed

    async def _deleted_damaged(self, name: str, number: int) -> int:
        """Takes away what is left of a version that cannot be read, with the aliases that name it; gives the bytes on disk.

        No caller of it is here, since it was never loaded; and nobody could point its aliases elsewhere first where it is the
        only version.
        """
        assert self._versions is not None
        versions = self._versions
        taken: list[tuple[Path, int]] = []

        def withdraw() -> None:
            try:
                taken.append(versions.withdraw(name, number))
            except UnknownVersion:  # somebody was faster
                pass
            except ZooModelError as error:
                log.error("a damaged version could not be deleted", model=name, version=number, reason=str(error))
                raise InternalError from error

        async with self._naming:
            try:
                kept = await self._unnamed(name, number, withdraw)
            except BaseException:
                for folder, _ in taken:
                    await in_daemon(partial(versions.restore, name, number, folder), f"put-back-{name}:{number}")
                raise
            self._damaged.forget(name, number)
            self._tell_books()
            if (book := self._books.get(name)) is not None:
                book.kept = kept
                self._hold(book)
        await in_daemon(versions.remove_withdrawn, f"delete-{name}:{number}")
        freed = sum(size for _, size in taken)
        log.info("a damaged version was deleted", model=name, version=number, freed_bytes=freed)
        return freed

    async def _unnamed(self, name: str, number: int, meanwhile: Callable[[], None]) -> RevisionedAliases:
        """Nothing names a version any more, and no rollback leads there; what is kept of the model's names from now on."""
        while True:
            kept = (await self._aliases.read([name])).get(name, RevisionedAliases(Names()))
            names: Names = kept.names
            moves: list[Move] = []
            for alias in names.of(number):
                names, more = naming.without(names, alias)
                moves += more
            names, more = naming.forgotten(names, number)
            moves += more
            if not moves:
                await in_daemon(meanwhile, f"delete-{name}:{number}")
                return kept
            try:
                return RevisionedAliases(names, await self._aliases.write(name, names, moves, kept.revision, meanwhile))
            except OutdatedError:  # another server was faster
                continue

    async def _gone(self, book: ModelRecord, entry: ModelVersion) -> None:
        """Another server has deleted a version: its callers here finish, and then nobody knows it any more."""
        entry.leaving = True
        try:
            await self._empty(entry)
        except ZooError as error:
            entry.leaving = False
            log.error("a version was deleted elsewhere and stays", model=book.name, version=entry.number, reason=error)
            return
        self._forget(book, entry)
        log.info("a version was deleted elsewhere", model=book.name, version=entry.number)

    async def _empty(self, entry: ModelVersion) -> None:
        """A version that is `leaving` is unloaded, once its load has ended and those inside are answered."""
        if entry.loading is not None:
            await asyncio.wait([entry.loading])
        if entry.unloading is not None:
            await asyncio.shield(entry.unloading)
        if entry.state is ModelState.READY:
            await asyncio.shield(self._begin_unload(entry, "deleted", comes_back=False))

    def _forget(self, book: ModelRecord, entry: ModelVersion) -> None:
        book.entries.pop(entry.number, None)
        if book.entries:
            self._changed(book)
        elif self._books.get(book.name) is book:
            del self._books[book.name], self._statuses[book.name]
            self._recorder.model_gone(book.name, tuple(ModelState))

"""The registry: which models are loaded, in which versions, what names those, and who answers a call.

    publish ──► add_version (learn, load, warm) ──► gate ──► stable ──► rollback
                                                     └── reachable by number ──► canary, a share of the calls

What an alias is to name is loaded before the alias moves, and the names are in the database before they hold here. The
version that was stable before stays loaded, so that a rollback takes no time; what nothing names, and no rollback would lead
to next, is unloaded as soon as the alias has moved: nobody is likely to ask for it, and a call by its number brings it back.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial

from model_zoo.errors import UnknownVersion, ZooModelError
from model_zoo.versions import Version
from service.errors import IllegalMove, InternalError, InvalidInput, NotFound, NotReady, ZooError
from service.observability.log import logger
from service.registry import names as naming
from service.registry.background import in_daemon
from service.registry.book import Book
from service.registry.entry import Entry
from service.registry.names import CANARY, STABLE, Change, Names
from service.registry.naming import MovedError, Naming
from service.registry.promotion import decide
from service.registry.served import ServedModel
from service.registry.states import ModelState
from service.registry.status import (
    ModelStatus,
    RuntimeInfo,
    Traffic,
    Unloaded,
    VersionReport,
    VersionStatus,
)

log = logger(__name__)

ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Registry(Naming):
    """Models by name, and their versions. All methods belong to the event loop."""

    def versions(self, name: str) -> list[VersionStatus]:
        """The versions of a model, the newest first. Raises NotFound."""
        return self._book(name).versions(self.ledger)

    def traffic(self, name: str) -> Traffic:
        """Where calls that name no version go. Raises NotFound."""
        return self._book(name).traffic()

    def check_new_name(self, name: str, field: str = "model") -> None:
        """Raises InvalidInput where no tuned model may be called so, because one of the zoo is."""
        book = self._books.get(name)
        if book is not None and not book.tuned:
            raise InvalidInput(field, f"{name!r} is a model of the zoo; choose another name for the tuned one")

    def folder(self, name: str, version: str = "") -> Version | None:
        """Where a tuned version is on disk, for those who measure another one beside it; None for a model that is not there, or
        has no such version, or is of the zoo."""
        try:
            return self._book(name).find(version).version
        except NotFound:
            return None

    async def add_version(self, name: str, number: int) -> VersionStatus:
        """Learns, loads and warms a version that was published. Raises NotFound; IllegalMove for a name of the zoo; NotReady or
        MemoryFull where it cannot be loaded, and then it is known all the same."""
        entry = await self._learn(name, number)
        await self._ready(entry)
        return self._version(entry)

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        """`add_version`, and then the gate: whether it becomes stable. Gives the outcome in one sentence, and never raises for
        what is wrong with the version itself."""
        try:
            await self.add_version(name, number)
        except (NotReady, ZooError) as error:
            return f"version {number} was published, but it does not serve: {error.message}"
        if not gated:
            return f"version {number} serves by its number; promotion was not asked for"
        book = self._book(name)
        try:
            report = (await self.report(name, str(number))).report
        except ZooError as error:
            return f"version {number} serves by its number; {error.message}"
        while True:
            stable = book.names.stable
            decision = decide(report, stable)
            if not decision.promote:
                return f"version {number} serves by its number and is not stable: {decision.sentence}"
            try:
                await self._point(book, STABLE, number, "promoted by the gate", instead_of=stable)
            except MovedError:  # somebody was faster, and this version has to measure up to that one
                continue
            return f"version {number} is stable: {decision.sentence}"

    async def set_alias(self, name: str, alias: str, number: int) -> ModelStatus:
        """Points an alias at a version; `stable` and `canary` load it first. Raises NotFound, InvalidInput, IllegalMove for a
        model of the zoo, NotReady or MemoryFull where it cannot be loaded, and then nothing has changed."""
        book = self._tuned(name)
        if not ALIAS.fullmatch(alias):
            problem = "expected lower-case letters, digits, '-' and '_', with a letter first, at most 63"
            raise InvalidInput("alias", f"{problem}, got {alias[:64]!r}")
        await self._point(book, alias, self._numbered(book, number).number)
        return self._statuses[name]

    async def delete_alias(self, name: str, alias: str) -> ModelStatus:
        """Removes an alias. Raises NotFound; IllegalMove for `stable`, without which nobody would know whom to ask."""
        book = self._tuned(name)
        if alias == STABLE:
            raise IllegalMove("'stable' cannot be removed; point it at another version")
        if alias not in book.names.aliases:
            raise NotFound("alias", alias[:64], known=f"model {name!r} has {', '.join(sorted(book.names.aliases))}")
        await self._rename(book, lambda names: naming.without(names, alias))
        return self._statuses[name]

    async def rollback(self, name: str) -> tuple[ModelStatus, int]:
        """`stable` names again what it named before. Gives the number that was stable until now, too.

        Raises NotFound; IllegalMove where there is nothing to go back to; NotReady or MemoryFull where it cannot be loaded.
        """
        book = self._tuned(name)
        if not book.names.before:
            raise IllegalMove(f"no version of model {name!r} was stable before the one that is")
        left, target = book.names.stable, book.names.before[-1]
        await self._ready(book.entries[target])

        def change(names: Names) -> Change:
            if names.stable != left or names.before[-1:] != (target,):
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            return naming.back(names)

        await self._rename(book, change)
        return self._statuses[name], left or 0

    async def set_traffic(self, name: str, canary: int, share: float) -> ModelStatus:
        """Gives a version a share of the calls that name none, and loads it before; a share of 0 ends that.

        Raises NotFound, InvalidInput, IllegalMove, NotReady, MemoryFull.
        """
        book = self._tuned(name)
        if not 0.0 <= share <= 1.0:  # NaN is not
            raise InvalidInput("canary_share", f"expected 0..1, got {share:g}")
        if not share:
            if CANARY in book.names.aliases:
                await self._rename(book, lambda names: naming.without(names, CANARY))
            return self._statuses[name]
        entry = self._numbered(book, canary, "canary")
        if book.names.stable is None:
            raise IllegalMove(f"model {name!r} has no stable version to try a canary beside; promote one first")
        if book.names.stable == canary:
            raise InvalidInput("canary", f"version {canary} is stable already; expected another one")
        await self._ready(entry)

        def change(names: Names) -> Change:
            if names.stable in (None, canary):
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            return naming.split(names, canary, share)

        await self._rename(book, change)
        return self._statuses[name]

    async def delete_version(self, name: str, number: int) -> int:
        """Unloads a version that no alias names, and removes its files. Gives the disk space that came back, in bytes.

        Raises NotFound; IllegalMove where an alias names it, or while it is loading.
        """
        book = self._tuned(name)
        return await self._to_its_end(self._deleted(book, self._numbered(book, number)))

    async def _deleted(self, book: Book, entry: Entry) -> int:
        name, number = book.name, entry.number
        async with self._naming:
            if aliases := book.names.of(number):
                which = " and ".join(repr(alias) for alias in aliases)
                raise IllegalMove(f"version {number} of model {name!r} is {which}; point that elsewhere first")
            if entry.unloading is not None:
                await asyncio.shield(entry.unloading)
            self._check_unload(entry)
            if entry.state is ModelState.READY:
                await asyncio.shield(self._begin_unload(entry, "deleted", comes_back=False))
            names, moves = naming.forgotten(book.names, number)
            if len(book.entries) > 1:  # first of all: the database may not answer, and then nothing has happened
                await self._aliases.write(name, names, moves)
            else:
                await self._aliases.forget(name)
            book.names = names
            freed = await in_daemon(partial(self._delete, name, number), f"delete-{entry.key}")
            book.entries.pop(number, None)
            if book.entries:
                self._changed(book)
            else:
                self._books.pop(name, None)
                self._statuses.pop(name, None)
            log.info("a version was deleted", model=name, version=number, freed_bytes=freed)
            return freed

    async def report(self, name: str, version: str = "") -> VersionReport:
        """How a tuned version did on held-out data. Raises NotFound, also for a model of the zoo, which has no report."""
        entry = self._book(name).find(version)
        if entry.version is None or self._versions is None:
            raise NotFound("report", name, known="only fine-tuned versions have one")
        try:
            report, html = await in_daemon(partial(self._versions.report, name, entry.number), f"report-{entry.key}")
        except ZooModelError as error:
            raise NotFound("report", f"{name} {entry.number}", known=str(error)) from error
        return VersionReport(entry.number, report, html)

    def _version(self, entry: Entry) -> VersionStatus:
        return next(v for v in self.versions(entry.name) if v.number == entry.number)

    def _delete(self, name: str, number: int) -> int:
        assert self._versions is not None
        try:
            return self._versions.delete(name, number)
        except UnknownVersion:  # somebody was faster; what was asked for is so
            return 0
        except ZooModelError as error:
            log.error("a version could not be deleted", model=name, version=number, reason=str(error))
            raise InternalError from error


__all__ = [
    "ModelState",
    "ModelStatus",
    "Registry",
    "RuntimeInfo",
    "ServedModel",
    "Traffic",
    "Unloaded",
    "VersionReport",
    "VersionStatus",
]

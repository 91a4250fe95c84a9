"""The registry: which models are loaded, in which versions, what names those, and who answers a call.

    publish ──► add_version (learn, load, warm) ──► gate ──► stable ──► rollback
                                                     └── reachable by number ──► canary, a share of the calls

What an alias is to name is loaded before the alias moves, and the names are in the database before they hold here. The
version that was stable before stays loaded, so that a rollback takes no time; what nothing names, and no rollback would lead
to next, is unloaded as soon as the alias has moved: nobody is likely to ask for it, and a call by its number brings it back.

Several servers on one home and one database are one: whoever changes something looks first at what the others did, and where
one of them is faster still, the change is judged again (`alias_book.py`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from model_zoo.errors import ZooModelError
from model_zoo.version_folder import Version
from service.engine.served_model import ServedModel
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady, ZooError
from service.registry.loading.background import in_daemon
from service.registry.model_status import (
    ModelStatus,
    RuntimeInfo,
    Traffic,
    Unloaded,
    VersionReport,
    VersionStatus,
)
from service.registry.states import ModelState
from service.registry.versions import aliases as naming
from service.registry.versions.alias_manager import MovedError
from service.registry.versions.aliases import (
    CANARY,
    STABLE,
    Change,
    Move,
    Names,
)
from service.registry.versions.promotion import decide
from service.registry.versions.replica_sync import Following
from service.registry.versions.serving_report import serving, with_serving

ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Registry(Following):
    """Models by name, and their versions. All methods belong to the event loop."""

    def versions(self, name: str) -> list[VersionStatus]:
        """The versions of a model, the newest first. Raises NotFound."""
        return self._book(name).versions(self.ledger)

    async def survey(self, name: str) -> list[VersionStatus]:
        """As `versions`, with those that are damaged among them: their files are looked at now. Raises NotFound."""
        await self.seek(name)
        book = self._books.get(name)
        if (book is None and not self._damaged.of(name)) or (book is not None and not book.tuned):
            return self.versions(name)
        known = set() if book is None else set(book.entries)
        wanted = {(name, number) for number in known | set(self._damaged.of(name))}
        if self._versions is not None:
            await in_daemon(partial(self._read_versions, wanted), f"survey-{name}")
        damaged = self._damaged.of(name)
        statuses = [] if book is None else book.versions(self.ledger)
        listed = [replace(s, damaged=damaged[s.number].reason) if s.number in damaged else s for s in statuses]
        listed += [
            one.status(() if book is None else book.kept.names.of(number))
            for number, one in damaged.items()
            if number not in {status.number for status in statuses}
        ]
        return sorted(listed, key=lambda status: -status.number)

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
        return self._book(name).version(entry, self.ledger)

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        """`add_version`, and then the gate: whether it becomes stable. Gives the outcome in one sentence, and never raises for
        what is wrong with the version itself."""
        try:
            await self.add_version(name, number)
        except (NotReady, ZooError) as error:
            return f"version {number} was published, but it does not serve: {error.message}"
        if not gated:
            return f"version {number} serves by its number; promotion was not asked for"
        try:
            report = (await self.report(name, str(number))).report
        except ZooError as error:
            return f"version {number} serves by its number; {error.message}"
        await self._look_now()
        while True:
            book = self._tuned(name)
            stable = book.kept.names.stable
            decision = decide(report, stable)
            if not decision.promote:
                return f"version {number} serves by its number and is not stable: {decision.sentence}"
            try:
                await self._point(book, STABLE, number, "promoted by the gate", instead_of=stable)
            except MovedError:  # somebody was faster, here or at another server: it has to measure up to that one
                continue
            except (NotFound, NotReady, IllegalMove) as error:  # it was deleted meanwhile, or does not load any more
                return f"version {number} was published and is not stable: {error.message}"
            return f"version {number} is stable: {decision.sentence}"

    async def set_alias(self, name: str, alias: str, number: int) -> ModelStatus:
        """Points an alias at a version; `stable` and `canary` load it first. Raises NotFound, InvalidInput, IllegalMove for a
        model of the zoo, NotReady or MemoryFull where it cannot be loaded, and then nothing has changed."""
        if not ALIAS.fullmatch(alias):
            problem = "expected lower-case letters, digits, '-' and '_', with a letter first, at most 63"
            raise InvalidInput("alias", f"{problem}, got {alias[:64]!r}")
        await self._look_now()
        book = self._tuned(name)
        await self._point(book, alias, self._numbered(book, number).number)
        return self.status(name)

    async def delete_alias(self, name: str, alias: str) -> ModelStatus:
        """Removes an alias. Raises NotFound; IllegalMove for `stable`, without which nobody would know whom to ask."""
        await self._look_now()
        book = self._tuned(name)

        def change(names: Names) -> Change:
            if alias not in names.aliases:
                raise NotFound("alias", alias[:64], known=f"model {name!r} has {', '.join(sorted(names.aliases))}")
            return naming.without(names, alias)

        if alias == STABLE:
            raise IllegalMove("'stable' cannot be removed; point it at another version")
        await self._rename(book, change)
        return self.status(name)

    async def rollback(self, name: str) -> tuple[ModelStatus, int]:
        """`stable` names again what it named before. Gives the number that was stable until now, too.

        Raises NotFound; IllegalMove where there is nothing to go back to; NotReady or MemoryFull where it cannot be loaded.
        """
        await self._look_now()
        book = self._tuned(name)

        def way_back(names: Names) -> tuple[int, ...]:
            return naming.among(names, book.entries).before

        left, before = book.kept.names.stable, way_back(book.kept.names)
        if not before:
            raise IllegalMove(f"no version of model {name!r} was stable before the one that is")
        await self._ready(book.entries[before[-1]])

        def change(names: Names) -> Change:
            if names.stable != left or way_back(names) != before:
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            moves: list[Move] = []
            for number in {*names.before} - {*before}:  # whose files were removed by hand
                names, gone = naming.forgotten(names, number)
                moves += gone
            names, back = naming.back(names)
            return names, [*moves, *back]

        await self._rename(book, change)
        return self.status(name), left or 0

    async def set_traffic(self, name: str, canary: int, share: float) -> ModelStatus:
        """Gives a version a share of the calls that name none, and loads it before; a share of 0 ends that.

        Raises NotFound, InvalidInput, IllegalMove, NotReady, MemoryFull.
        """
        await self._look_now()
        book = self._tuned(name)
        if not 0.0 <= share <= 1.0:  # NaN is not
            raise InvalidInput("canary_share", f"expected 0..1, got {share:g}")
        if not share:
            if CANARY in book.kept.names.aliases:
                await self._rename(book, lambda n: naming.without(n, CANARY) if CANARY in n.aliases else (n, ()))
            return self.status(name)
        entry = self._numbered(book, canary, "canary")
        if book.kept.names.stable is None:
            raise IllegalMove(f"model {name!r} has no stable version to try a canary beside; promote one first")
        if book.kept.names.stable == canary:
            raise InvalidInput("canary", f"version {canary} is stable already; expected another one")
        await self._ready(entry)

        def change(names: Names) -> Change:
            if names.stable in (None, canary):
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            book.stopped = None  # what was found of a canary before does not hold against a new try
            return naming.split(names, canary, share)

        await self._rename(book, change)
        return self.status(name)

    async def delete_version(self, name: str, number: int) -> int:
        """Unloads a version that no alias names, and removes its files; of one that is damaged also the aliases. Gives the disk
        space that came back, in bytes.

        Raises NotFound; IllegalMove where an alias names it, or while it is loading or being deleted.
        """
        await self._look_now()
        known = self._books.get(name)
        if number in self._damaged.of(name) and (known is None or number not in known.entries):
            return await self._to_its_end(self._deleted_damaged(name, number))
        book = self._tuned(name)
        return await self._to_its_end(self._deleted(book, self._numbered(book, number)))

    async def report(self, name: str, version: str = "") -> VersionReport:
        """How a tuned version did on held-out data. Raises NotFound, also for a model of the zoo, which has no report."""
        await self.seek(name, version)
        entry = self._book(name).find(version)
        if entry.version is None or self._versions is None:
            raise NotFound("report", name, known="only fine-tuned versions have one")
        try:
            report, html = await in_daemon(partial(self._versions.report, name, entry.number), f"report-{entry.key}")
        except ZooModelError as error:
            raise NotFound("report", f"{name} {entry.number}", known=str(error)) from error
        noted = await in_daemon(entry.record.all_noted, f"report-{entry.key}")
        return VersionReport(entry.number, {**report, "serving": serving(noted)}, with_serving(html, noted))


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

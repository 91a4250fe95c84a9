"""Versions that were tuned: learnt from what is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from model_zoo.cards.weight_source import TunedSource
from model_zoo.errors import UnknownVersion, VersionDamaged, ZooModelError
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.loading.load_manager import Loading
from service.registry.model_record import ModelRecord
from service.registry.model_table import NOTHING_GIVEN
from service.registry.model_version import ModelVersion
from service.registry.versions.damaged_versions import DamagedVersions, outline
from service.settings import ModelOptions

log = logger(__name__)


class Learning(Loading):
    """A registry that knows versions beside the catalog. All methods belong to the event loop."""

    def __init__(
        self,
        *args: Any,
        versions: Versions | None = None,
        damaged_cards: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> None:
        """`versions`: where tuned ones are; `damaged_cards`: those of the catalog that cannot be read, and why. See Loading for
        the rest."""
        super().__init__(*args, **rest)
        self._versions = versions
        self._damaged_cards = dict(damaged_cards or {})
        self._damaged = DamagedVersions()
        self._complained: set[tuple[str, int]] = set()  # versions of which the log has said that they are damaged

    async def _ready(self, entry: ModelVersion) -> None:
        """Has a version loaded. Raises NotReady, MemoryFull; IllegalMove where it is being deleted."""
        if entry.unloading is not None and not entry.leaving:
            await asyncio.shield(entry.unloading)
        await self.load(entry.name, str(entry.number))

    async def _learn(self, name: str, number: int) -> ModelVersion:
        """Makes a version known that was published since the start."""
        book = self._books.get(name)
        if book is not None and not book.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo, and cannot have versions of yours")
        if book is not None and number in book.entries:
            return book.entries[number]
        return self._add_version(await in_daemon(partial(self._open, name, number), f"open-{name}:{number}"))

    def _add_version(self, version: Version) -> ModelVersion:
        """Enters a version that was read from disk; another may have come meanwhile, or this one."""
        name, number = version.model, version.number
        book = self._books.get(name)
        if book is None:
            book = self._tuned_book(name, [version])
            self._add_book(book)
        elif number not in book.entries:
            book.entries[number] = self._entry(version, book.given)
            self._changed(book)
        return book.entries[number]

    def _tuned_book(self, name: str, versions: Collection[Version]) -> ModelRecord:
        given = self._given.get(name, NOTHING_GIVEN)
        return ModelRecord(name, given, [self._entry(version, given) for version in versions], tuned=True)

    def _entry(self, version: Version, given: ModelOptions) -> ModelVersion:
        source = version.card.source
        assert isinstance(source, TunedSource)
        base = self._books.get(source.base)
        rides = source.method == "head" and base is not None and not base.tuned
        defaults = self._defaults(version.card)
        return ModelVersion(
            version.card, defaults, given, True, version, base.primary if rides and base is not None else None
        )

    def damaged_models(self) -> dict[str, str]:
        """Models of which nothing can be read, by name, and why: a card of the catalog, or all versions of a tuned one."""
        tuned = {
            name: outline(found) for name in self._damaged.models() if (found := tuple(self._damaged.of(name).values()))
        }
        cards = {name: f"its card is damaged: {reason}" for name, reason in self._damaged_cards.items()}
        return {name: why for name, why in sorted((tuned | cards).items()) if name not in self._books}

    def _tell_books(self) -> None:
        """So that whoever asks for a damaged version hears why it is not there."""
        for book in self._books.values():
            if book.tuned:
                book.damaged = {number: one.reason for number, one in self._damaged.of(book.name).items()}

    def _unknown(self, name: str) -> NotFound:
        why = self.damaged_models().get(name)
        return super()._unknown(name) if why is None else NotFound("model", name, known=why)

    def _tuned(self, name: str) -> ModelRecord:
        book = self._book(name)
        if not book.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo: it has version 1, which is 'stable'")
        return book

    def _numbered(self, book: ModelRecord, number: int, field: str = "version") -> ModelVersion:
        if number not in book.entries:
            if number < 1:
                raise InvalidInput(field, f"expected the number of a version, got {number}")
            return book.find(str(number))  # which says what there is
        return book.entries[number]

    # ── in a thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _read_versions(self, wanted: Collection[tuple[str, int]]) -> list[Version]:
        """Those that can be read; of each other the log says so once."""
        assert self._versions is not None
        found = []
        for model, number in sorted(wanted):
            try:
                found.append(self._versions.open(model, number))
                self._damaged.forget(model, number)
            except UnknownVersion:  # gone since it was listed
                self._damaged.forget(model, number)
            except ZooModelError as error:
                reason = error.reason if isinstance(error, VersionDamaged) else str(error)
                self._damaged.note(self._versions, model, number, reason)
                if (model, number) not in self._complained:
                    self._complained.add((model, number))
                    log.error("a version is left out", model=model, version=number, reason=str(error))
        return found

    def _open(self, name: str, number: int) -> Version:
        if self._versions is None:
            raise NotFound("version", f"{name[:64]} {number}")
        try:
            return self._versions.open(name, number)
        except UnknownVersion as error:
            raise NotFound("version", str(number), known=str(error)) from error
        except ZooModelError as error:
            raise NotReady(str(error)) from error

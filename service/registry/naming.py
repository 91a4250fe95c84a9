"""What is on disk beside the catalog, and what names it: versions are learnt here, names changed and kept, a canary watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from model_zoo.card import Card, TunedSource
from model_zoo.errors import UnknownVersion, ZooModelError
from model_zoo.versions import Version, Versions
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry import names as naming
from service.registry.asking import NOTHING_GIVEN
from service.registry.background import in_daemon
from service.registry.book import Book
from service.registry.canary import Bounds, CanaryWatch
from service.registry.entry import Entry
from service.registry.loader import Loads
from service.registry.loading import Loading
from service.registry.names import CANARY, STABLE, AliasBook, AliasesInMemory, Change, Names
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions

log = logger(__name__)

T = TypeVar("T")


class MovedError(Exception):
    """An alias names something else than when it was looked at."""


class Naming(Loading):
    """A registry whose versions have names. All methods belong to the event loop."""

    def __init__(
        self,
        cards: Mapping[str, Card],
        defaults: Callable[[Card], ModelOptions],
        loader: Loads,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        *,
        versions: Versions | None = None,
        aliases: AliasBook | None = None,
        bounds: Bounds | None = None,
        **rest: Any,
    ) -> None:
        """`versions`: where tuned ones are; `aliases`: where their names are kept; `bounds` of a canary. See Loading for the
        rest. Tuned models are known after `restore`."""
        super().__init__(cards, defaults, loader, scheduler, recorder, **rest)
        self._versions = versions
        self._aliases: AliasBook = aliases or AliasesInMemory()
        self._bounds = bounds or Bounds()
        self._naming = asyncio.Lock()  # whoever changes names holds it, so that what is kept is what holds
        self._keeping: set[asyncio.Task[Any]] = set()

    async def restore(self) -> list[tuple[str, int]]:
        """Learns what is on disk and how it was named when the server stopped. Gives those in service: model and number.

        Call once, before anything else. A version that cannot be read is left out, with a line in the log.
        """
        kept = await self._aliases.read()
        found = await in_daemon(self._scan, "versions")
        for model, versions in found.items():
            if model in self._books:
                log.error("a tuned model has the name of one of the zoo and is left out", model=model)
                continue
            book = self._tuned_book(model, versions)
            book.names = _existing(kept.get(model, Names()), book)
            self._add_book(book)
            self._split(book)
        tuned = [book for book in self._books.values() if book.tuned]
        return [(book.name, entry.number) for book in tuned for entry in book.in_service()]

    async def close(self) -> None:
        """Stops loading, and waits until what is about to be kept is kept. Nothing else may be called after."""
        await super().close()
        if self._keeping:
            await asyncio.wait(self._keeping)

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _point(
        self, book: Book, alias: str, number: int, reason: str = "", *, instead_of: int | None = -1
    ) -> None:
        """`instead_of`: what the alias must name until then; -1 for whatever it does. Else raises MovedError."""
        if alias in (STABLE, CANARY):
            await self._ready(book.entries[number])

        def change(names: Names) -> Change:
            if instead_of not in (-1, names.aliases.get(alias)):
                raise MovedError
            return naming.pointed(names, alias, number, reason)

        await self._rename(book, change)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """`work`, which goes on even if the caller leaves: what is kept and what holds must not part."""
        task = asyncio.create_task(work)
        self._keeping.add(task)

        def done(task: asyncio.Task[T]) -> None:
            self._keeping.discard(task)
            if not task.cancelled():
                task.exception()  # told to the caller, if there still is one

        task.add_done_callback(done)
        return await asyncio.shield(task)

    async def _rename(self, book: Book, change: Callable[[Names], Change]) -> None:
        """Keeps a change of names, and then lets it hold."""
        await self._to_its_end(self._renamed(book, change))

    async def _renamed(self, book: Book, change: Callable[[Names], Change]) -> None:
        async with self._naming:
            before = book.names
            names, moves = change(before)
            if not all(number in book.entries for number in names.aliases.values()):
                raise NotFound("version", "", known="it was deleted meanwhile")
            await self._aliases.write(book.name, names, moves)
            # The canary left its bounds meanwhile; `_keep` follows.
            if book.names is not before and names.canary == before.canary:
                names, _ = naming.stopped(names, book.names.rolled_back_reason)
            book.names = names
        log.info(
            "names of versions changed", model=book.name, aliases=dict(names.aliases), canary_share=names.canary_share
        )
        self._split(book)
        self._changed(book)
        for entry in book.unnamed():
            self._begin_unload(entry, "no alias names it; a call by its number brings it back", comes_back=True)

    def _split(self, book: Book) -> None:
        """Watches the canary and the stable version while traffic is split between them, and nobody else."""
        names = book.names
        book.watch = CanaryWatch(self._bounds, self._clock) if names.canary_share else None
        for entry in book.entries.values():
            self._watch(book, entry)

    def _watch(self, book: Book, entry: Entry) -> None:
        if entry.served is None:
            return
        entry.served.watch = None
        if book.watch is not None and entry.number in (book.names.stable, book.names.canary):
            entry.served.watch = partial(self._finished, book, book.watch, entry.number == book.names.canary)

    def _finished(self, book: Book, watch: CanaryWatch, is_canary: bool, fault: bool, seconds: float) -> None:
        """A call of the canary, or of the stable version beside it, has ended."""
        if watch is not book.watch:  # it began when traffic was split otherwise
            return
        reason = watch.observe(is_canary, fault, seconds)
        if reason is None:
            return
        log.error(
            "a canary left its bounds and lost its share", model=book.name, version=book.names.canary, reason=reason
        )
        self._recorder.canary_rolled_back(book.name)
        book.names, moves = naming.stopped(book.names, reason)  # at once: the next call must not meet it
        self._split(book)
        self._changed(book)
        task = asyncio.create_task(self._keep(book, moves), name=f"keep-{book.name}")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, book: Book, moves: Any) -> None:
        async with self._naming:
            try:
                await self._aliases.write(book.name, book.names, moves)
            except Exception:
                log.exception("that a canary lost its share could not be kept", model=book.name)

    def _changed(self, book: Book) -> None:
        if book.watch is not None:  # a version that was loaded anew has to be watched anew
            for entry in book.in_service():
                self._watch(book, entry)
        super()._changed(book)

    # ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ready(self, entry: Entry) -> None:
        """Has a version loaded. Raises NotReady, MemoryFull."""
        if entry.unloading is not None:
            await asyncio.shield(entry.unloading)
        await self.load(entry.name, str(entry.number))

    async def _learn(self, name: str, number: int) -> Entry:
        """Makes a version known that was published since the start."""
        book = self._books.get(name)
        if book is not None and not book.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo, and cannot have versions of yours")
        if book is not None and number in book.entries:
            return book.entries[number]
        version = await in_daemon(partial(self._open, name, number), f"open-{name}:{number}")
        book = self._books.get(name)  # another version may have come meanwhile
        if book is None:
            book = self._tuned_book(name, [version])
            self._add_book(book)
        elif number not in book.entries:
            book.entries[number] = self._entry(version, book.given)
            self._changed(book)
        return book.entries[number]

    def _tuned_book(self, name: str, versions: list[Version]) -> Book:
        given = self._given.get(name, NOTHING_GIVEN)
        return Book(name, given, [self._entry(version, given) for version in versions], tuned=True)

    def _entry(self, version: Version, given: ModelOptions) -> Entry:
        source = version.card.source
        assert isinstance(source, TunedSource)
        base = self._books.get(source.base)
        rides = source.method == "head" and base is not None and not base.tuned
        defaults = self._defaults(version.card)
        return Entry(version.card, defaults, given, True, version, base.primary if rides and base is not None else None)

    def _tuned(self, name: str) -> Book:
        book = self._book(name)
        if not book.tuned:
            raise IllegalMove(f"{name!r} is a model of the zoo: it has version 1, which is 'stable'")
        return book

    def _numbered(self, book: Book, number: int, field: str = "version") -> Entry:
        if number not in book.entries:
            if number < 1:
                raise InvalidInput(field, f"expected the number of a version, got {number}")
            return book.find(str(number))  # which says what there is
        return book.entries[number]

    def _scan(self) -> dict[str, list[Version]]:
        """In a thread: what is on disk, by model."""
        found: dict[str, list[Version]] = {}
        if self._versions is None:
            return found
        for model in self._versions.models():
            for number in self._versions.numbers(model):
                try:
                    found.setdefault(model, []).append(self._versions.open(model, number))
                except ZooModelError as error:
                    log.error("a version is left out", model=model, version=number, reason=str(error))
        return {model: versions for model, versions in found.items() if versions}

    def _open(self, name: str, number: int) -> Version:
        if self._versions is None:
            raise NotFound("version", f"{name[:64]} {number}")
        try:
            return self._versions.open(name, number)
        except UnknownVersion as error:
            raise NotFound("version", str(number), known=str(error)) from error
        except ZooModelError as error:
            raise NotReady(str(error)) from error


def _existing(names: Names, book: Book) -> Names:
    """Names without those of versions that are there no more."""
    aliases = {alias: number for alias, number in names.aliases.items() if number in book.entries}
    for alias in names.aliases.keys() - aliases.keys():
        log.error("an alias names a version that is gone", model=book.name, alias=alias, version=names.aliases[alias])
    share = names.canary_share if CANARY in aliases and STABLE in aliases else 0.0
    before = tuple(number for number in names.before if number in book.entries)
    return Names(aliases, share, names.rolled_back_reason, before)

"""What names versions: changed here, kept for all servers, and let hold; a canary is watched.

    change ──► kept, if nobody was faster ──► holds here, once what it leads to is loaded here
                 └── somebody was: read, judge again

A change that another server made enters at the second arrow (`replica_sync.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from model_zoo.cards.card import Card
from service.errors import NotFound, ZooError
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.loader import Loads
from service.registry.model_record import ModelRecord, Stopped
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState
from service.registry.versions import aliases as naming
from service.registry.versions.alias_book import (
    AliasBook,
    AliasesInMemory,
    OutdatedError,
    RevisionedAliases,
    nothing,
)
from service.registry.versions.aliases import (
    CANARY,
    STABLE,
    Change,
    Names,
)
from service.registry.versions.canary import Bounds, CanaryWatch
from service.registry.versions.discovery import Learning
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions

log = logger(__name__)

T = TypeVar("T")

TRY_AGAIN_S = 30.0
"""After a version that is stable elsewhere could not be loaded here."""


class MovedError(Exception):
    """An alias names something else than when it was looked at."""


class Naming(Learning):
    """A registry whose versions have names. All methods belong to the event loop."""

    def __init__(
        self,
        cards: Mapping[str, Card],
        defaults: Callable[[Card], ModelOptions],
        loader: Loads,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        *,
        aliases: AliasBook | None = None,
        bounds: Bounds | None = None,
        **rest: Any,
    ) -> None:
        """`aliases`: where names of versions are kept; `bounds` of a canary. See Learning for the rest. Tuned models are known
        after `restore`."""
        super().__init__(cards, defaults, loader, scheduler, recorder, **rest)
        self._aliases: AliasBook = aliases or AliasesInMemory()
        self._bounds = bounds or Bounds()
        self._naming = asyncio.Lock()  # whoever changes what is kept holds it
        self._keeping: set[asyncio.Task[Any]] = set()
        self._following_up: dict[str, asyncio.Task[None]] = {}  # on what other servers did; given up at the end

    async def close(self) -> None:
        """Stops loading, and waits until what is about to be kept is kept. Nothing else may be called after."""
        for task in self._following_up.values():
            task.cancel()
        await super().close()
        if self._keeping:
            await asyncio.wait(self._keeping)

    # ── changing ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _point(
        self, book: ModelRecord, alias: str, number: int, reason: str = "", *, instead_of: int | None = -1
    ) -> None:
        """`instead_of`: what the alias must name until then; -1 for whatever it does. Else raises MovedError."""
        if alias in (STABLE, CANARY):
            await self._ready(self._numbered(book, number))

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

    async def _rename(self, book: ModelRecord, change: Callable[[Names], Change]) -> None:
        """Keeps a change of names, and then lets it hold."""
        await self._to_its_end(self._renamed(book, change))

    async def _renamed(
        self, book: ModelRecord, change: Callable[[Names], Change], meanwhile: Callable[[], None] = nothing
    ) -> None:
        """`change` is asked again where another server was faster, with the names that it left; it may raise.

        `meanwhile` is called while nobody can change the names; see AliasBook.
        """
        async with self._naming:
            while True:
                kept = book.kept
                names, moves = change(kept.names)
                pointed = {number for _, number in names.aliases.items() - kept.names.aliases.items()}
                for number in pointed:
                    if number not in book.entries or book.entries[number].leaving:
                        raise _deleted_meanwhile(number)

                def while_locked(numbers: Collection[int] = pointed) -> None:
                    self._check_there(book.name, numbers)
                    meanwhile()

                try:
                    revision = await self._aliases.write(book.name, names, moves, kept.revision, while_locked)
                    break
                except OutdatedError:
                    found = await self._aliases.read([book.name])
                    book.kept = found.get(book.name, RevisionedAliases(Names()))
                    self._hold(book)
            book.kept = RevisionedAliases(names, revision)
            self._hold(book, loaded=None if names.stable == kept.names.stable else names.stable)

    def _check_there(self, name: str, numbers: Collection[int]) -> None:
        """In a thread, while no other server can delete versions of the model. Raises NotFound."""
        for number in numbers:
            if self._versions is not None and not self._versions.has(name, number):
                raise _deleted_meanwhile(number)

    # ── holding ───────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, book: ModelRecord, *, loaded: int | None = None) -> None:
        """Lets names that are kept hold here, as far as what they name is here.

        While the version that became stable is not loaded, and it is not the one that was `loaded` for that, the one before
        answers. A canary that left its bounds here has no share, whether that is kept already or not.
        """
        names = naming.among(book.kept.names, book.entries)
        if book.stopped is not None and book.kept.names.canary != book.stopped.number:
            book.stopped = None  # another one is tried by now
        if book.stopped is not None and names.canary is not None:
            names, _ = naming.stopped(names, book.stopped.reason)
        now, then = book.names.stable, book.kept.names.stable
        if now in book.entries and then not in (None, now, loaded) and not self._is_loaded(book, then):
            names = naming.held_back(names, now)
            self._catch_up(book, then)
        if names == book.names:
            return
        before, book.names = book.names, names
        log.info(
            "names of versions changed", model=book.name, aliases=dict(names.aliases), canary_share=names.canary_share
        )
        if _traffic(before) != _traffic(names):
            self._split(book)
        for number in {names.stable, names.canary} - {before.stable, before.canary}:
            if not self._is_loaded(book, number):  # a canary gets no calls until it is; who calls stable waits
                self._catch_up(book, number)
        self._changed(book)
        for entry in book.unnamed():
            self._begin_unload(entry, "no alias names it; a call by its number brings it back", comes_back=True)

    @staticmethod
    def _is_loaded(book: ModelRecord, number: int | None) -> bool:
        entry = book.entries.get(number or 0)
        return entry is not None and entry.state is ModelState.READY

    def _catch_up(self, book: ModelRecord, number: int | None) -> None:
        """Loads a version to which another server's names lead, and then lets them hold."""
        entry = book.entries.get(number or 0)
        if entry is not None and self._clock() >= entry.try_again:
            self._follow_up(f"load {entry.key}", self._caught_up(book, entry))

    def _follow_up(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Has `work` done, unless the same is being done already."""
        if what in self._following_up:
            work.close()
            return
        self._following_up[what] = task = asyncio.create_task(work, name=what)
        task.add_done_callback(lambda _: self._following_up.pop(what, None))

    async def _caught_up(self, book: ModelRecord, entry: ModelVersion) -> None:
        loaded = None
        try:
            await self._ready(entry)
            loaded = entry.number
        except ZooError as error:
            entry.try_again = self._clock() + TRY_AGAIN_S
            log.error(
                "a version that is in service elsewhere cannot be loaded here",
                model=entry.name,
                version=entry.number,
                reason=error.message,
            )
        self._hold(book, loaded=loaded)

    # ── watching a canary ─────────────────────────────────────────────────────────────────────────────────────

    def _split(self, book: ModelRecord) -> None:
        """Watches the canary and the stable version while traffic is split between them, and nobody else."""
        names = book.names
        book.watch = CanaryWatch(self._bounds, self._clock) if names.canary_share else None
        for entry in book.entries.values():
            self._watch(book, entry)

    def _watch(self, book: ModelRecord, entry: ModelVersion) -> None:
        if entry.served is None:
            return
        entry.served.watch = None
        if book.watch is not None and entry.number in (book.names.stable, book.names.canary):
            entry.served.watch = partial(self._finished, book, book.watch, entry.number == book.names.canary)

    def _finished(self, book: ModelRecord, watch: CanaryWatch, is_canary: bool, fault: bool, seconds: float) -> None:
        """A call of the canary, or of the stable version beside it, has ended."""
        if watch is not book.watch:  # it began when traffic was split otherwise
            return
        reason = watch.observe(is_canary, fault, seconds)
        canary = book.names.canary
        if reason is None or canary is None:
            return
        log.error("a canary left its bounds and lost its share", model=book.name, version=canary, reason=reason)
        self._recorder.canary_rolled_back(book.name)
        book.stopped = Stopped(canary, reason)
        self._hold(book)  # at once: the next call must not meet it
        self._keep_stopped(book)

    def _keep_stopped(self, book: ModelRecord) -> None:
        """Has it kept that the canary lost its share; where that fails, the next look at other servers tries again."""
        task = asyncio.create_task(self._kept_stopped(book), name=f"keep-{book.name}")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _kept_stopped(self, book: ModelRecord) -> None:
        stopped = book.stopped

        def change(names: Names) -> Change:
            if stopped is None or book.stopped is not stopped or names.canary != stopped.number:
                return names, ()
            return naming.stopped(names, stopped.reason) if names.canary_share else (names, ())

        try:
            await self._renamed(book, change)
        except Exception:
            log.exception("that a canary lost its share could not be kept yet", model=book.name)
            return
        if book.stopped is stopped:
            book.stopped = None

    def _changed(self, book: ModelRecord) -> None:
        if book.watch is not None:  # a version that was loaded anew has to be watched anew
            for entry in book.in_service():
                self._watch(book, entry)
        super()._changed(book)


def _deleted_meanwhile(number: int) -> NotFound:
    return NotFound("version", str(number), known="it was deleted meanwhile")


def _traffic(names: Names) -> tuple[int | None, int | None, float]:
    """Who gets which calls that name no version."""
    return names.stable, names.canary, names.canary_share

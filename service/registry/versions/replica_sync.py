"""What other servers on the same home and database do, learnt by looking: every few seconds, and when somebody asks for a version
that is not known here.

    versions folder ──► published: known from now on, loaded when a name leads to it or somebody calls it
    database        ──► names moved: they hold once what they lead to is loaded
    versions folder ──► deleted: callers finish, then it is gone
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from model_zoo.errors import StoreUnusable, ZooModelError
from model_zoo.version_folder import MODEL_NAME
from service.database import DatabaseError
from service.engine.served_head import Served
from service.errors import NotFound
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.model_record import ModelRecord
from service.registry.model_status import ModelStatus
from service.registry.versions import aliases as naming
from service.registry.versions.alias_book import NEVER, RevisionedAliases
from service.registry.versions.aliases import Names
from service.registry.versions.deletion import Forgetting

log = logger(__name__)

BETWEEN_LOOKS_S = 0.5
"""However many ask for what there is not, nobody looks more often than so."""
PATIENCE_S = 5.0
"""How long a call waits at most for a look."""


class Following(Forgetting):
    """A registry that is one of several. All methods belong to the event loop."""

    def __init__(self, *args: Any, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, **rest: Any) -> None:
        """See Naming."""
        super().__init__(*args, **rest)
        self._sleep = sleep
        self._looking = asyncio.Lock()
        self._coming: asyncio.Task[None] | None = None  # a look that was asked for and has not begun
        self._last_look = -BETWEEN_LOOKS_S
        self._trouble = False
        self._following: asyncio.Task[None] | None = None

    async def restore(self) -> list[tuple[str, int]]:
        """Learns what is on disk and how it is named. Gives those in service: model and number.

        Call once, before anything else. A version that cannot be read is left out, with a line in the log.
        """
        kept = await self._aliases.read()
        for model, numbers in (await in_daemon(self._listing, "versions")).items():
            if model in self._books:
                log.error("a tuned model has the name of one of the zoo and is left out", model=model)
                continue
            wanted = [(model, number) for number in numbers]
            versions = await in_daemon(partial(self._read_versions, wanted), f"open-{model}")
            if not versions:
                continue
            book = self._tuned_book(model, versions)
            book.kept = kept.get(model, RevisionedAliases(Names()))
            book.names = naming.among(book.kept.names, book.entries)
            for alias, number in book.kept.names.aliases.items() - book.names.aliases.items():
                log.error("an alias names a version that is gone", model=model, alias=alias, version=number)
            self._add_book(book)
            self._split(book)
        self._tell_books()
        tuned = [book for book in self._books.values() if book.tuned]
        return [(book.name, entry.number) for book in tuned for entry in book.in_service()]

    def _listing(self) -> Mapping[str, Collection[int]]:
        """In a thread: what is on disk, after what nobody needs was removed."""
        if self._versions is None:
            return {}
        self._versions.remove_withdrawn()
        try:
            return self._versions.listing()
        except StoreUnusable as error:
            log.error("tuned versions cannot be read", reason=str(error))
            return {}

    def follow(self, every_s: float) -> None:
        """Looks every so often from now on, until `unfollow`."""
        self._following = asyncio.create_task(self._follow(every_s), name="follow")

    def unfollow(self) -> None:
        """Looks no more."""
        if self._following is not None:
            self._following.cancel()

    async def close(self) -> None:
        """As Naming; looks no more."""
        self.unfollow()
        if self._coming is not None:
            self._coming.cancel()
        await super().close()

    # ── whoever asks for what is not known here ───────────────────────────────────────────────────────────────

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> Served:
        """As Loading; what is unknown is looked for before NotFound is raised."""
        try:
            return await super().acquire(name, version, deadline)
        except NotFound:
            if not self._may_be_elsewhere(name):
                raise
        await self._look_soon(deadline)
        return await super().acquire(name, version, deadline)

    async def load(self, name: str, version: str = "") -> ModelStatus:
        """As Loading; what is unknown is looked for before NotFound is raised."""
        await self.seek(name, version)
        return await super().load(name, version)

    async def seek(self, name: str, version: str = "") -> None:
        """Looks at other servers where a model or a version is not known here, so that it is if there is one."""
        try:
            self._found(name, version)
        except NotFound:
            if self._may_be_elsewhere(name):
                await self._look_soon()

    def _may_be_elsewhere(self, name: str) -> bool:
        """Whether another server may have published what is unknown here under this name."""
        if self._versions is None or MODEL_NAME.fullmatch(name) is None:
            return False
        book = self._books.get(name)
        return book is None or book.tuned

    async def _look_soon(self, deadline: float | None = None) -> None:
        """Returns after a look that began after the call, which all share who asked before it did; or when time is up."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._come(), name="look")
        left_s = PATIENCE_S if deadline is None else min(PATIENCE_S, deadline - self._clock())
        await asyncio.wait([self._coming], timeout=max(0.0, left_s))

    async def _come(self) -> None:
        wait_s = self._last_look + BETWEEN_LOOKS_S - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)
        await self._look_now(asked_for=True)

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, every_s: float) -> None:
        while True:
            await self._sleep(every_s)
            await self._look_now()

    async def _look_now(self, *, asked_for: bool = False) -> None:
        """`look`, one at a time. Trouble is told to the log, once until it ends: what is known here goes on serving."""
        if self._versions is None:
            return
        async with self._looking:
            if asked_for:
                self._coming = None  # who asks from here on may mean what this look does not see
            self._last_look = self._clock()
            try:
                await self.look()
            except (DatabaseError, ZooModelError) as error:
                if not self._trouble:
                    log.error("what other servers do cannot be seen just now", reason=str(error))
                self._trouble = True
            except Exception:
                log.exception("looking at what other servers do failed")
            else:
                self._trouble = False

    async def look(self) -> None:
        """Learns what was published, named and deleted by others. Raises DatabaseError, StoreUnusable."""
        assert self._versions is not None
        known = {(book.name, number) for book in self._tuned_books() for number in book.entries}
        listing = await in_daemon(self._versions.listing, "look")
        listed = {(model, number) for model, numbers in listing.items() for number in numbers}
        new = {one for one in listed - known if self._may_be_elsewhere(one[0])}
        versions = await in_daemon(partial(self._read_versions, new), "look") if new else []
        revisions = await self._aliases.revisions()
        held = {version.model: NEVER for version in versions}
        held |= {book.name: book.kept.revision for book in self._tuned_books()}
        changed = [model for model, revision in held.items() if revisions.get(model, revision) != revision]
        kept = await self._aliases.read(changed) if changed else {}
        # From here on nothing waits: nobody meets a version without its names.
        for version in versions:
            self._add_version(version)
        for model, names in kept.items():
            book = self._books.get(model)
            if book is not None and book.kept.revision == held[model]:  # else this server was faster
                book.kept = names
                self._hold(book)
        self._damaged.keep(listed)
        self._tell_books()
        for book in self._tuned_books():
            if book.behind:
                self._hold(book)
            if book.stopped is not None:
                self._keep_stopped(book)
        self._let_go(known - listed)

    def _tuned_books(self) -> list[ModelRecord]:
        return [book for book in self._books.values() if book.tuned]

    def _let_go(self, gone: Collection[tuple[str, int]]) -> None:
        """Versions whose folders are there no more. No server deletes what is named: that is a disk that is away, or a hand."""
        for name, number in gone:
            book = self._books.get(name)
            entry = None if book is None else book.entries.get(number)
            if book is None or entry is None or entry.leaving:
                continue
            if book.kept.names.of(number) or book.names.of(number):
                if (name, number) not in self._complained:
                    self._complained.add((name, number))
                    log.error("the files of a version that is in use are gone", model=name, version=number)
                continue
            self._follow_up(f"forget {entry.key}", self._gone(book, entry))

"""The aliases that all servers share, and how they are stored.

A model's aliases have a revision, which rises by one at every change. A writer names the revision that its change is based on;
where another writer was faster nothing is written, and the change must be computed again from the present aliases. So no
change is lost, and no decision rests on outdated aliases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.registry.versions.aliases import AliasMove, AliasSet

NEVER_WRITTEN = 0
"""Revision of aliases that were never written."""


@dataclass(frozen=True, slots=True)
class RevisionedAliases:
    """A model's aliases as they are stored."""

    aliases: AliasSet
    revision: int = NEVER_WRITTEN


NO_ALIASES = RevisionedAliases(AliasSet())


class StaleRevisionError(Exception):
    """The aliases have another revision by now. Nothing was written."""


def do_nothing() -> None:
    """Nothing else happens with a change of aliases."""


class AliasStorage(Protocol):
    """Stores aliases for all servers."""

    async def revisions(self) -> Mapping[str, int]:
        """The revision of every model: a cheap way to find changes."""

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """The aliases of these models, or of all, at one moment; a model without stored aliases is left out."""

    async def write(
        self,
        model: str,
        aliases: AliasSet,
        moves: Sequence[AliasMove],
        revision: int,
        while_locked: Callable[[], None] = do_nothing,
    ) -> int:
        """Replaces a model's aliases of `revision`, adds the moves, and returns the new revision; all or nothing.

        `while_locked` is called in another thread while no other server can change the aliases; where it raises, nothing is
        written. Raises StaleRevisionError.
        """


class InMemoryAliases:
    """An AliasStorage that ends with the process."""

    def __init__(self) -> None:
        self.stored: dict[str, RevisionedAliases] = {}
        self.moves: list[tuple[str, AliasMove]] = []

    async def revisions(self) -> Mapping[str, int]:
        """The revision of every model."""
        return {model: stored.revision for model, stored in self.stored.items()}

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """The aliases of these models, or of all."""
        return {model: stored for model, stored in self.stored.items() if models is None or model in models}

    async def write(
        self,
        model: str,
        aliases: AliasSet,
        moves: Sequence[AliasMove],
        revision: int,
        while_locked: Callable[[], None] = do_nothing,
    ) -> int:
        """Replaces a model's aliases."""
        if self.stored.get(model, NO_ALIASES).revision != revision:
            raise StaleRevisionError
        while_locked()
        self.stored[model] = RevisionedAliases(aliases, revision + 1)
        self.moves += [(model, move) for move in moves]
        return revision + 1

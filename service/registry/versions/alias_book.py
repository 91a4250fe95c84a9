"""Where the names of versions are kept, for all servers that share them.

A model's names have a revision, which rises by one at every change. Who writes says from which revision on he thought; where
another was faster nothing is written, and he has to read and to think again. Hence no change is lost, and no decision rests on
what was so before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.registry.versions.aliases import Move, Names

NEVER = 0
"""Revision of names that nobody has written yet."""


@dataclass(frozen=True, slots=True)
class RevisionedAliases:
    """A model's names as they are kept."""

    names: Names
    revision: int = NEVER


class OutdatedError(Exception):
    """The names have another revision by now. Nothing was written."""


def nothing() -> None:
    """Nothing else happens with a change of names."""


class AliasBook(Protocol):
    """Where names are kept."""

    async def revisions(self) -> Mapping[str, int]:
        """That of every model: a cheap look at what has changed."""

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """The names of these models, or of all, at one moment; a model of which nothing is kept is left out."""

    async def write(
        self, model: str, names: Names, moves: Sequence[Move], revision: int, meanwhile: Callable[[], None] = nothing
    ) -> int:
        """Keeps a model's names in place of those of `revision`, and the moves, and gives the new revision; all or nothing.

        `meanwhile` is called in another thread while nobody else can change the names; where it raises, nothing is written.
        Raises OutdatedError.
        """


class AliasesInMemory:
    """An AliasBook that ends with the process."""

    def __init__(self) -> None:
        self.kept: dict[str, RevisionedAliases] = {}
        self.moves: list[tuple[str, Move]] = []

    async def revisions(self) -> Mapping[str, int]:
        """That of every model."""
        return {model: kept.revision for model, kept in self.kept.items()}

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """Those of these models, or of all."""
        return {model: kept for model, kept in self.kept.items() if models is None or model in models}

    async def write(
        self, model: str, names: Names, moves: Sequence[Move], revision: int, meanwhile: Callable[[], None] = nothing
    ) -> int:
        """Keeps a model's names."""
        if self.kept.get(model, RevisionedAliases(Names())).revision != revision:
            raise OutdatedError
        meanwhile()
        self.kept[model] = RevisionedAliases(names, revision + 1)
        self.moves += [(model, move) for move in moves]
        return revision + 1

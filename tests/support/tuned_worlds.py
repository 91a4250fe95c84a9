"""Worlds with a home for tuned versions: started as a server does, asked, and grown version by version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from model_zoo.versions import Versions
from service.registry.versions.aliases import AliasMove, AliasSet
from service.registry.versions.revisioned_aliases import InMemoryAliases, do_nothing
from service.types import Embedding, Prediction
from tests.support.registry_fakes import World, world
from tests.support.tuned_versions import publish, report, with_tuned


@asynccontextmanager
async def served(home: Path, kept: InMemoryAliases | None = None, **changes: Any) -> AsyncIterator[World]:
    """A world with a home for tuned versions, as a server has it after its start."""
    changes = {"load": False, **changes}
    async with world(versions=Versions(home), aliases=kept or InMemoryAliases(), **changes) as w:
        with_tuned(w, home)
        for model, number in await w.registry.restore():
            await w.registry.begin_load(model, str(number))
        yield w


async def ask(w: World, model: str, version: str = "", text: str = "1") -> tuple[int, float]:
    """The number that answered, and what: a head gives its slope times three."""
    reply = await w.inference.infer(w.request(text, model=model, version=version))
    [prediction] = reply.predictions
    assert isinstance(prediction, Prediction), prediction
    assert isinstance(prediction.answer, Embedding)
    return reply.version, float(prediction.answer.values[0])


async def grow(w: World, home: Path, model: str, *slopes: float) -> None:
    """Publishes versions of a model, each compared with the one before and better."""
    for i, slope in enumerate(slopes):
        stable = w.registry.traffic(model).stable if i or model in {s.name for s in w.registry.statuses()} else 0
        said = report(0.8, 0.5, (stable, 0.7) if stable else None)
        outcome = await w.registry.take(model, publish(home, model, slope, said=said))
        assert "is stable" in outcome, outcome


class SlowAliases(InMemoryAliases):
    """Keeps names when it is let. `trouble` is raised instead, once."""

    def __init__(self) -> None:
        super().__init__()
        self.let, self.asked = asyncio.Event(), 0
        self.let.set()
        self.trouble: Exception | None = None
        self.blind: Exception | None = None
        """Raised instead of `revisions`."""

    async def revisions(self) -> Mapping[str, int]:
        if self.blind is not None:
            raise self.blind
        return await super().revisions()

    async def _turn(self) -> None:
        self.asked += 1
        await self.let.wait()
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble

    async def write(
        self,
        model: str,
        names: AliasSet,
        moves: Sequence[AliasMove],
        revision: int,
        meanwhile: Callable[[], None] = do_nothing,
    ) -> int:
        await self._turn()
        return await super().write(model, names, moves, revision, meanwhile)

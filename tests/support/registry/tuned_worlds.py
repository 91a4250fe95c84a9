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
from tests.support.registry.fakes import World, world
from tests.support.registry.tuned_versions import publish, report, with_tuned


@asynccontextmanager
async def served(home: Path, storage: InMemoryAliases | None = None, **changes: Any) -> AsyncIterator[World]:
    """A world with a home for tuned versions, as a server has it after its start."""
    changes = {"load": False, **changes}
    async with world(versions=Versions(home), aliases=storage or InMemoryAliases(), **changes) as w:
        with_tuned(w, home)
        for model, number in await w.registry.restore():
            await w.registry.begin_load(model, str(number))
        yield w


async def ask(w: World, model: str, version: str = "", text: str = "1") -> tuple[int, float]:
    """The number of the version that answered, and its answer: a head returns its slope times three."""
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
    """Writes while `may_write` is set. `error` is raised instead, once."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write, self.writes = asyncio.Event(), 0
        self.may_write.set()
        self.error: Exception | None = None
        self.revisions_error: Exception | None = None
        """Raised instead of `revisions`."""

    async def revisions(self) -> Mapping[str, int]:
        if self.revisions_error is not None:
            raise self.revisions_error
        return await super().revisions()

    async def _turn(self) -> None:
        self.writes += 1
        await self.may_write.wait()
        trouble, self.error = self.error, None
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

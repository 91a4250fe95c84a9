"""Two servers on one home and one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service.registry.states import ModelState
from service.registry.versions.revisioned_aliases import InMemoryAliases
from tests.support.registry.fakes import World
from tests.support.registry.tuned_worlds import ask, served
from tests.support.scheduler.fakes import until

READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


@asynccontextmanager
async def two(home: Path, storage: InMemoryAliases | None = None, **changes: Any) -> AsyncIterator[tuple[World, World]]:
    """Two servers that have just started. They look at each other when a test has them look."""
    storage = storage or InMemoryAliases()
    async with served(home, storage, **changes) as here, served(home, storage, **changes) as there:
        yield here, there


async def stable_at(w: World, number: int, model: str = "mood") -> None:
    """Returns once this version is stable there."""
    await until(lambda: w.registry.traffic(model).stable == number)


def states(w: World, model: str = "mood") -> dict[int, ModelState]:
    return {version.number: version.state for version in w.registry.versions(model)}


async def at_the_gate(w: World, number: int, model: str = "mood") -> asyncio.Task[Any]:
    """A call of a version that is on the device, and stays there until the gate of its base is opened."""
    runtime = w.runtime("adder")
    runtime.gate.clear()
    inside = asyncio.create_task(ask(w, model, str(number)))
    await until(lambda: runtime.batches[-1:] == [[1.0]])
    return inside

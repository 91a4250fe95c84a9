"""Aliases take effect: versions that no alias names are unloaded."""

from pathlib import Path

import pytest

from service.registry.states import ModelState
from tests.support.registry.tuned_worlds import ask, grow, served
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio
READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


async def test_unnamed_version_is_unloaded_and_reloaded_by_a_call_by_number(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await until(lambda: w.registry.versions("mood")[-1].state is UNAVAILABLE)
        states = {v.number: v.state for v in w.registry.versions("mood")}
        assert states == {3: READY, 2: READY, 1: UNAVAILABLE}
        assert await ask(w, "mood", "1") == (1, 3.0)

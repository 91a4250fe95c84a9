"""Reports and states of versions."""

from pathlib import Path

import pytest

from service.errors import NotFound
from service.registry.states import ModelState
from tests.support.registry.tuned_worlds import grow, served

pytestmark = pytest.mark.asyncio
READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


async def test_report_belongs_to_the_requested_version(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        found = await w.registry.report("mood")
        assert (found.version, found.report["primary"], found.html.decode()) == (2, "accuracy", "<p>ü</p>")
        assert (await w.registry.report("mood", "1")).version == 1
        with pytest.raises(NotFound, match="only fine-tuned versions have one"):
            await w.registry.report("adder")


async def test_states_are_reported_per_version_and_per_model(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        await w.registry.unload("mood", "1")
        assert w.registry.status("mood").state is READY
        assert w.registry.status("mood", "1").state is UNAVAILABLE
        assert w.registry.status("mood", "2").state is READY
        assert w.registry.status("mood").versions == (2,)
        moods = [state for name, state in w.moves if name == "mood"]
        assert moods == [ModelState.LOADING, READY], "listeners hear of the model, not of its every version"
        assert w.sample("zoo_model_state", model="mood", state="READY") == 1

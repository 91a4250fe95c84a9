"""A running server knows the models that are pulled into its home."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from model_zoo.live_catalog import LiveCatalog
from service.errors import NotFound
from service.registry.states import ModelState
from tests.support.model_zoo.home_cards import write_card
from tests.support.registry.fakes import World
from tests.support.registry.tuned_worlds import grow, served

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[World]:
    """A server whose catalog is that of its home."""
    live = LiveCatalog.of_home(home)
    async with served(home, growing=live, damaged_cards=live.damaged) as w:
        yield w


async def test_pulled_model_is_known_after_a_look_and_can_be_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as w:
        with pytest.raises(NotFound):
            w.registry.status("pulled")
        write_card(tmp_path, "pulled")
        await w.registry.look()
        assert w.registry.status("pulled").state is ModelState.UNAVAILABLE
        assert (await w.registry.load("pulled")).state is ModelState.READY


async def test_load_of_an_unknown_name_looks_first(tmp_path: Path) -> None:
    async with running(tmp_path) as w:
        write_card(tmp_path, "pulled")
        assert (await w.registry.load("pulled")).state is ModelState.READY
        with pytest.raises(NotFound):
            await w.registry.load("other")


async def test_pulled_model_with_the_name_of_a_tuned_one_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        write_card(tmp_path, "mood")
        await w.registry.look()
        assert w.registry.traffic("mood").stable == 1
        assert w.registry.status("mood").card.source.kind == "tuned"


async def test_card_that_is_damaged_later_is_listed_as_damaged_and_then_mended(tmp_path: Path) -> None:
    async with running(tmp_path) as w:
        write_card(tmp_path, "pulled").write_text("name: [", "utf-8")
        await w.registry.look()
        assert "its card is damaged" in w.registry.damaged_models()["pulled"]
        with pytest.raises(NotFound, match="its card is damaged"):
            w.registry.status("pulled")
        write_card(tmp_path, "pulled")
        await w.registry.look()
        assert not w.registry.damaged_models()
        assert w.registry.status("pulled").state is ModelState.UNAVAILABLE

"""Changes of aliases are stored to their end, one after another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.registry.several_servers import two
from tests.support.registry.tuned_worlds import SlowAliases, grow, served
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


async def test_alias_change_whose_caller_leaves_is_stored_and_activated(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with served(tmp_path, storage) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        storage.may_write.clear()
        leaving = asyncio.create_task(w.registry.rollback("mood"))
        before = storage.writes
        await until(lambda: storage.writes > before)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        storage.may_write.set()
        await until(lambda: w.registry.traffic("mood").stable == 1)
        assert storage.stored["mood"].aliases.stable == 1


async def test_concurrent_changes_of_different_aliases_are_both_stored(tmp_path: Path) -> None:
    storage = SlowAliases()
    async with two(tmp_path, storage) as (here, there):
        await grow(here, tmp_path, "mood", 1.0, 2.0)
        await there.registry.look()
        storage.may_write.clear()
        before = storage.writes
        changes = [
            asyncio.create_task(here.registry.set_alias("mood", "left", 1)),
            asyncio.create_task(there.registry.set_alias("mood", "right", 2)),
        ]
        await until(lambda: storage.writes == before + 2)
        storage.may_write.set()
        await asyncio.gather(*changes)
        assert storage.stored["mood"].aliases.targets == {"stable": 2, "left": 1, "right": 2}

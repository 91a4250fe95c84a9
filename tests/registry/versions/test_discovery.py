"""Tuned versions on disk enter the model table, at the start and later."""

from pathlib import Path
from typing import Any, cast

import pytest

from model_zoo.versions import Versions
from service.errors import IllegalMove, InvalidInput, NotFound
from service.registry.states import ModelState
from service.registry.versions.revisioned_aliases import InMemoryAliases
from tests.support.registry.tuned_versions import publish, report
from tests.support.registry.tuned_worlds import ask, grow, served

pytestmark = pytest.mark.asyncio
READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


async def test_tuned_model_with_a_zoo_name_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        with pytest.raises(IllegalMove, match="'adder' is a model of the zoo"):
            await w.registry.add_version("adder", publish(tmp_path, "adder"))
        with pytest.raises(InvalidInput, match=r"spec\.model: 'adder' is a model of the zoo"):
            w.registry.check_new_name("adder", "spec.model")
        w.registry.check_new_name("mood")
    async with served(tmp_path) as w:  # nor after a restart
        assert [s.name for s in w.registry.statuses()] == ["adder"]
        assert w.registry.versions("adder")[0].lineage is None


async def test_unknown_tuned_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        await w.registry.set_alias("mood", "own", 1)
        for version in ("3", "0", "-1", "01", "9" * 400, "canary", "STABLE", "²", "1.0", "../1"):
            with pytest.raises(NotFound) as caught:
                w.registry.resolve("mood", version)
            assert "model 'mood' has versions 1, 2; 'own' is 1, 'stable' is 2" in caught.value.message
        with pytest.raises(NotFound, match="version 7"):
            await w.registry.add_version("mood", 7)
        with pytest.raises(NotFound):
            await w.registry.add_version("../mood", 1)


async def test_restart_restores_aliases_traffic_and_rollback_history(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 4.0))
        await w.registry.set_alias("mood", "own", 1)
        await w.registry.set_traffic("mood", 4, 0.25)
        before = w.registry.traffic("mood")
    async with served(tmp_path, storage) as w:
        assert w.registry.traffic("mood") == before
        states = {v.number: (v.state, v.aliases) for v in w.registry.versions("mood")}
        assert states == {
            4: (READY, ("canary",)),
            3: (READY, ("stable",)),
            2: (UNAVAILABLE, ()),
            1: (UNAVAILABLE, ("own",)),
        }, "what is in service is loaded, the rest waits for a call"
        assert await ask(w, "mood", "own") == (1, 3.0)
        assert await ask(w, "mood", "2") == (2, 6.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 2)


async def test_alias_of_a_version_removed_by_hand_is_ignored_after_restart(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
    Versions(tmp_path).delete("mood", 2)
    async with served(tmp_path, storage) as w:
        assert w.registry.traffic("mood").stable == 0
        assert await ask(w, "mood", "1") == (1, 3.0)


async def test_damaged_version_at_start_is_left_out_while_others_serve(tmp_path: Path) -> None:
    storage = InMemoryAliases()
    async with served(tmp_path, storage) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
    (tmp_path / "versions" / "mood" / "1" / "card.json").write_text("{")
    async with served(tmp_path, storage) as w:
        assert [v.number for v in w.registry.versions("mood")] == [2]
        assert await ask(w, "mood") == (2, 6.0)


async def test_full_version_has_its_own_queue_and_ledger_holding(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        for i in (1, 2):
            said = report(0.8, 0.5, (1, 0.7) if i == 2 else None)
            await w.registry.take("own", publish(tmp_path, "own", float(i), method="full", said=said))
        assert {v.number: v.memory_bytes for v in w.registry.versions("own")} == {2: 4096, 1: 4096}
        assert w.registry.ledger.total == 2 * 4096
        assert await ask(w, "own") == (2, 3.0)
        assert await ask(w, "own", "1") == (1, 3.0)
        assert w.registry.status("adder").state is UNAVAILABLE, "it needs no base"
        first, second = (cast(Any, w.registry.resolve("own", str(n))).runtime for n in (1, 2))
        assert (first.batches, second.batches) == ([[1.0]], [[1.0]])
        assert w.sample("zoo_model_memory_bytes", model="own", version="2") == 4096
        await w.registry.delete_version("own", 1)
        assert first.freed
        assert w.registry.ledger.total == 4096

"""Many heads on one backbone: one queue, one batch, and everybody gets the answer of his own head."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.versions import Versions
from service.engine.served_head import ServedHead
from service.engine.served_model import ServedModel
from service.errors import IllegalMove, InternalError, InvalidInput, NotReady, QueueFull
from service.registry.states import ModelState
from service.types import Embedding, Prediction
from tests.support.registry.fakes import FakeRuntime, World, world
from tests.support.registry.internals import begin_unload, use_versions, version_of
from tests.support.registry.tuned_versions import (
    TunedLoader,
    publish,
    result_folder,
    with_tuned,
    write_manifest,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


async def serve(w: World, home: Path, *slopes: float) -> list[str]:
    """Publishes a model for each slope, named by its position, and loads it."""
    with_tuned(w, home)
    use_versions(w, home)
    names = [f"head{i}" for i in range(len(slopes))]
    for name, slope in zip(names, slopes, strict=True):
        outcome = await w.registry.take(name, publish(home, name, slope))
        assert "is stable" in outcome
    return names


async def ask(w: World, model: str, text: str, **changes: Any) -> float:
    reply = await w.inference.infer(w.request(text, model=model, **changes))
    [prediction] = reply.predictions
    assert isinstance(prediction, Prediction), prediction
    assert isinstance(prediction.answer, Embedding)
    return float(prediction.answer.values[0])


async def test_a_head_answers_from_the_features_of_its_base_under_a_name_of_its_own(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 10.0)
        reply = await w.inference.infer(w.request("3", model="head0"))
        assert (reply.model, reply.version) == ("head0", 1)
        [prediction] = reply.predictions
        assert isinstance(prediction, Prediction)
        assert set(prediction.tensors) == {"logits"}
        assert float(prediction.tensors["logits"][0]) == 70.0  # 10 · (2 · 3 + 1)
        status = w.registry.status("head0")
        assert (status.state, status.base, status.versions, dict(status.aliases)) == (
            READY,
            "adder",
            (1,),
            {"stable": 1},
        )
        assert status.runtime is not None
        assert status.runtime.memory_bytes == 16  # four numbers
        assert w.sample("zoo_batch_size_count", model="head0", version="1") > 0
        assert w.sample("zoo_stage_duration_seconds_count", model="head0", version="1", stage="execute") == 1
        [snapshot] = w.recorder.statistics.snapshot("head0")
        assert snapshot.inference_count == 1
        assert await ask(w, "adder", "3") == 7.0, "the base answers as before"


async def test_requests_of_different_heads_and_the_base_share_one_batch(tmp_path: Path) -> None:
    async with world(max_batch_size=4) as w:
        await serve(w, tmp_path, 1.0, 2.0, 3.0)
        runtime = w.runtime("adder")
        runtime.gate.clear()
        first = asyncio.create_task(ask(w, "adder", "0"))
        await until(lambda: runtime.batches and runtime.batches[-1] == [0.0])
        calls = [asyncio.create_task(ask(w, name, "5")) for name in ("head0", "head1", "head2", "adder")]
        await until(lambda: w.model("adder").queue_depth == 4)
        runtime.gate.set()
        assert await asyncio.gather(*calls) == [11.0, 22.0, 33.0, 11.0]
        assert await first == 1.0
        assert runtime.batches[-1] == [5.0] * 4


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(st.tuples(st.integers(0, 8), st.integers(-50, 50), st.integers(1, 3)), min_size=1, max_size=40),
    rows=st.integers(1, 7),
    lanes=st.integers(1, 2),
)
async def test_each_caller_gets_the_answer_of_its_own_head(
    tmp_path_factory: pytest.TempPathFactory, calls: Sequence[tuple[int, int, int]], rows: int, lanes: int
) -> None:
    home = tmp_path_factory.mktemp("home")
    slopes = [float(s) for s in (1, -2, 3, -4, 5, -6, 7, -8)]
    async with world(max_batch_size=rows, lanes=lanes, max_queue_size=1000) as w:
        names = [*await serve(w, home, *slopes), "adder"]
        requests = [w.request(*[str(x + k) for k in range(count)], model=names[who]) for who, x, count in calls]
        replies = await asyncio.gather(*(w.inference.infer(request) for request in requests))
        for (who, x, count), reply in zip(calls, replies, strict=True):
            slope = slopes[who] if who < len(slopes) else 1.0
            got = [float(p.tensors["logits" if who < len(slopes) else "y"][0]) for p in cast(Any, reply.predictions)]
            assert got == [slope * (2.0 * (x + k) + 1.0) for k in range(count)]
            assert reply.model == names[who]


async def test_a_head_that_breaks_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    async with world(max_batch_size=4) as w:
        await serve(w, tmp_path, 1.0, 2.0)
        broken = w.registry.resolve("head0")
        assert isinstance(broken, ServedHead)

        def fail(*_: object) -> Any:
            raise RuntimeError("a foreign text with /a/path")

        cast(Any, broken.head).run = fail
        runtime = w.runtime("adder")
        runtime.gate.clear()
        first = asyncio.create_task(ask(w, "adder", "0"))
        await until(lambda: runtime.batches and runtime.batches[-1] == [0.0])
        calls = [
            asyncio.create_task(w.inference.infer(w.request("5", model=name))) for name in ("head0", "head1", "adder")
        ]
        await until(lambda: w.model("adder").queue_depth == 3)
        runtime.gate.set()
        ill, well, base = [(await call).predictions[0] for call in calls]
        await first
        assert isinstance(ill, InternalError)
        assert "/a/path" not in ill.message
        assert isinstance(well, Prediction)
        assert float(well.tensors["logits"][0]) == 22.0
        assert isinstance(base, Prediction)
        assert runtime.batches.count([5.0, 5.0, 5.0]) == 1, "the batch ran once"


async def test_a_head_takes_columns_beside_the_features(tmp_path: Path) -> None:
    async with world() as w:
        with_tuned(w, tmp_path)
        use_versions(w, tmp_path)
        await w.registry.add_version("mixed", publish(tmp_path, "mixed", 10.0, columns=2))
        served = w.registry.resolve("mixed", "1")
        from service.types import Item, Row

        item = Item({"x": np.array([3.0], np.float32), "columns": np.array([0.25, 0.5], np.float32)})
        served.admit(1)
        [row] = await served.submit([item], float("inf")).result()
        served.release(1)
        assert isinstance(row, Row)
        assert float(row.tensors["logits"][0]) == 70.75


async def test_wrong_input_is_reported_with_the_name_of_the_head(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 1.0)
        [prediction] = (await w.inference.infer(w.request("bad", model="head0"))).predictions
        assert isinstance(prediction, InvalidInput)


async def test_heads_share_the_queue_limit_and_its_error_names_the_head(tmp_path: Path) -> None:
    async with world(max_queue_size=2, max_batch_size=1) as w:
        await serve(w, tmp_path, 1.0, 2.0)
        runtime = w.runtime("adder")
        runtime.gate.clear()
        inside = [asyncio.create_task(ask(w, name, "5")) for name in ("head0", "adder")]
        await until(lambda: w.model("adder").rows_in_flight == 2)
        with pytest.raises(QueueFull, match="model 'head1' has 2 rows in flight"):
            await ask(w, "head1", "5")
        runtime.gate.set()
        await asyncio.gather(*inside)
        served = w.registry.resolve("head0")
        assert (served.rows_in_flight, w.model("adder").rows_in_flight) == (0, 0)


async def test_hundred_heads_on_one_base_hold_one_network(tmp_path: Path) -> None:
    async with world(max_batch_size=32, max_queue_size=1000) as w:
        slopes = [float(i) for i in range(1, 101)]
        names = await serve(w, tmp_path, *slopes)
        assert w.loader.loads["adder"] == 1
        assert w.registry.ledger.total == 4096
        assert cast(Any, w.loader).pool.bytes == 100 * 16
        kept = [cast(Any, version_of(w, name).head).golden for name in names]
        assert not any(kept), "what a head was held to at load is many times the head"
        answers = await asyncio.gather(*(ask(w, name, "1") for name in names))
        assert answers == [3.0 * slope for slope in slopes]
        alone = [await ask(w, name, "1") for name in names[::10]]
        assert alone == answers[::10]


async def test_least_used_heads_are_evicted_and_loaded_again_when_called(tmp_path: Path) -> None:
    async with world() as w:
        loader = with_tuned(w, tmp_path)
        loader.pool._max_bytes = 3 * 16
        use_versions(w, tmp_path)
        for i in range(6):
            await w.registry.take(f"head{i}", publish(tmp_path, f"head{i}", float(i)))
        assert loader.pool.bytes == 3 * 16
        assert [await ask(w, f"head{i}", "1") for i in (0, 1, 5, 0)] == [0.0, 3.0, 15.0, 0.0]
        assert loader.pool.bytes == 3 * 16
        held = [w.registry.versions(f"head{i}")[0].memory_bytes for i in range(6)]
        assert held == [16, 16, 0, 0, 0, 16]
        assert {w.registry.status(f"head{i}").state for i in range(6)} == {READY}, "paged out is not out of service"


async def test_a_head_whose_file_is_gone_fails_alone(tmp_path: Path) -> None:
    async with world() as w:
        loader = with_tuned(w, tmp_path)
        loader.pool._max_bytes = 16
        use_versions(w, tmp_path)
        for name in ("head0", "head1"):
            await w.registry.take(name, publish(tmp_path, name, 2.0))
        (tmp_path / "versions" / "head0" / "1" / "model.safetensors").unlink()
        [prediction] = (await w.inference.infer(w.request("1", model="head0"))).predictions
        assert isinstance(prediction, InternalError)
        assert await ask(w, "head1", "1") == 6.0


# ── the life of the base ──────────────────────────────────────────────────────────────────────────────────────────


async def test_loading_a_head_loads_its_base(tmp_path: Path) -> None:
    async with world(load=False) as w:
        await serve(w, tmp_path, 2.0)
        assert w.registry.status("adder").state is READY
        assert await ask(w, "head0", "1") == 6.0


async def test_base_with_loaded_heads_rejects_a_manual_unload(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 2.0, 3.0)
        with pytest.raises(IllegalMove, match="model 'adder' carries head0, head1, which cannot answer without it"):
            await w.registry.unload("adder")
        assert await ask(w, "head0", "1") == 6.0
        for name in ("head0", "head1"):
            done = await w.registry.unload(name)
            assert (done.status.state, done.held_bytes) == (UNAVAILABLE, 16)
            with pytest.raises(NotReady, match=f"version 1 of model '{name}' is unavailable: unloaded"):
                w.registry.resolve(name)
        await w.registry.unload("adder")
        assert cast(Any, w.loader).pool.bytes == 0


async def test_a_call_of_a_head_brings_an_evicted_base_back(tmp_path: Path) -> None:
    from service.registry.loading.memory_ledger import Ledger

    async with world(mib={"adder": 60, "other": 60}, load=False, ledger=Ledger(budget_mib=100)) as w:
        await serve(w, tmp_path, 2.0)
        moves: list[tuple[str, ModelState]] = []
        w.registry.on_change.append(lambda name, state: moves.append((name, state)))
        await w.registry.load("other")
        assert w.registry.status("adder").state is UNAVAILABLE
        status = w.registry.status("head0")
        assert status.state is UNAVAILABLE
        assert status.reason == (
            "its base 'adder' is unavailable: unloaded to make room for 'other'; a call brings it back"
        )
        assert ("head0", UNAVAILABLE) in moves
        assert await asyncio.gather(*(ask(w, "head0", "1") for _ in range(5))) == [6.0] * 5
        assert w.registry.status("head0").state is READY
        assert w.registry.status("other").state is UNAVAILABLE
        assert w.loader.loads["adder"] == 2
        assert w.loader.loads["head0"] == 1, "the head was never away"


async def test_base_whose_heads_are_called_is_not_evicted(tmp_path: Path) -> None:
    from service.registry.loading.memory_ledger import Ledger

    async with world(mib={"adder": 40, "idle": 40, "new": 40}, load=False, ledger=Ledger(budget_mib=100)) as w:
        await w.registry.load("adder")
        await serve(w, tmp_path, 2.0)
        await w.registry.load("idle")
        await ask(w, "head0", "1")
        await w.registry.load("new")
        assert w.registry.status("idle").state is UNAVAILABLE
        assert w.registry.status("adder").state is READY


async def test_requests_in_flight_on_a_head_are_answered_before_its_base_unloads(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 2.0)
        runtime = w.runtime("adder")
        runtime.gate.clear()
        call = asyncio.create_task(ask(w, "head0", "1"))
        await until(lambda: runtime.batches and runtime.batches[-1] == [1.0])
        leaving = asyncio.create_task(w.registry.unload("head0"))
        await until(lambda: w.registry.status("head0").state is not READY)
        base = asyncio.create_task(w.registry.unload("adder"))
        await until(lambda: w.registry.status("adder").state is ModelState.UNLOADING)
        assert not runtime.freed
        runtime.gate.set()
        assert await call == 6.0
        await asyncio.gather(leaving, base)
        assert runtime.freed


async def test_head_uses_the_faster_runtime_when_its_base_is_swapped(tmp_path: Path) -> None:
    from tests.support.registry.fakes import FakeRuntime

    async with world() as w:
        await serve(w, tmp_path, 2.0)
        base = w.registry.resolve("adder")
        assert isinstance(base, ServedModel)
        faster = FakeRuntime()
        base.use(cast(Any, faster))
        assert await ask(w, "head0", "1") == 6.0
        assert faster.batches == [[1.0]]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_head_whose_answers_differ_from_training_does_not_serve(tmp_path: Path) -> None:
    async with world() as w:
        with_tuned(w, tmp_path)
        use_versions(w, tmp_path)
        number = publish(tmp_path, "head0", 2.0, golden=[(1.0, 6.0), (3.0, 14.5)])
        outcome = await w.registry.take("head0", number)
        assert outcome == (
            "version 1 was published, but it does not serve: version 1 of model 'head0' could not be loaded: the golden check "
            "failed: item 2 of 2 differs by 0.5 from what training got; allowed is 0.001"
        )
        assert cast(Any, w.loader).pool.bytes == 0
        assert w.model("adder").rows_in_flight == 0


async def test_head_without_its_base_in_the_catalog_reports_the_missing_base(tmp_path: Path) -> None:
    async with world() as w:
        with_tuned(w, tmp_path)
        versions = Versions(tmp_path)
        use_versions(w, versions)
        folder = result_folder(tmp_path, "orphan", base="gone")
        versions.publish("orphan", folder)
        with pytest.raises(NotReady, match="its base is not in the zoo"):
            await w.registry.add_version("orphan", 1)


@pytest.mark.parametrize(("golden", "right"), [(14.05, True), (-14.0, False)])
async def test_on_a_base_in_reduced_precision_a_head_may_differ_as_its_card_allows(
    tmp_path: Path, golden: float, right: bool
) -> None:
    async with world() as w:
        await serve(w, tmp_path, 1.0)
        w.runtime().precision = "bf16"
        number = publish(tmp_path, "head0", 2.0, golden=[(3.0, golden)])
        outcome = await w.registry.take("head0", number, gated=False)
        assert ("serves by its number" in outcome) is right, outcome
        assert right or "the golden check failed: item 1 of 1 differs by 28" in outcome, "in fp32 it is wrong, too"
        await until(
            lambda: [s.name for s in w.registry.statuses()] == ["adder", "head0"]
        )  # no head needs an fp32 runtime


async def test_head_that_failed_to_load_holds_no_memory(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 1.0)
        pool = cast(TunedLoader, w.loader).pool
        held = pool.bytes
        w.runtime().poison.add(3.0)  # the golden item
        outcome = await w.registry.take("head0", publish(tmp_path, "head0", 2.0))
        assert "it could not answer" in outcome
        assert pool.bytes == held


async def test_head_check_is_repeated_when_the_base_runtime_is_swapped_during_it(tmp_path: Path) -> None:
    async with world() as w:
        with_tuned(w, tmp_path)
        use_versions(w, tmp_path)
        before, after = w.runtime(), FakeRuntime()
        before.gate.clear()
        taking = asyncio.create_task(w.registry.take("mood", publish(tmp_path, "mood", 2.0)))
        await until(lambda: before.batches == [[3.0]])  # the golden item
        w.model().use(cast(Any, after))
        before.gate.set()
        assert "is stable" in await taking
        assert after.batches == [[3.0]]


async def test_head_is_checked_again_when_its_base_returns_in_another_precision(tmp_path: Path) -> None:
    async with world() as w:
        await serve(w, tmp_path, 2.0)
        assert await ask(w, "head0", "3") == 14.0
        entry = version_of(w, "adder")
        cast(Any, FakeRuntime).precision, kept = "bf16", FakeRuntime.precision
        try:
            await begin_unload(w, entry, "to make room")
            assert await ask(w, "head0", "3") == 14.0
        finally:
            cast(Any, FakeRuntime).precision = kept
        assert w.runtime().batches == [[3.0], [3.0]], "its golden item, and the call"
        assert w.registry.status("head0").state is READY


@pytest.mark.parametrize(("golden", "serves"), [([28.5, 2.0], True), ([2.0, 28.5], False), ([28.5, 12.0], False)])
async def test_a_head_of_an_earlier_release_whose_golden_items_are_of_bf16_serves_in_fp32(
    tmp_path: Path, golden: list[float], serves: bool
) -> None:
    from model_zoo.golden.golden_items import write_golden_items

    async with world() as w:
        with_tuned(w, tmp_path)
        use_versions(w, tmp_path)
        folder = result_folder(tmp_path, "old", 4.0, held_out=("gone", [3.0, 3.0]))  # it says 28 and 0
        (folder / "held_out.safetensors").unlink()
        write_golden_items(
            folder / "golden.safetensors",
            [({"x": np.array([3.0], np.float32)}, {"logits": np.array(golden, np.float32)})],
        )
        write_manifest(folder)
        Versions(tmp_path).publish("old", folder)
        if serves:
            await w.registry.add_version("old", 1)
            assert await ask(w, "old", "3", version="1") == 28.0
        else:
            with pytest.raises(NotReady, match="the golden check failed"):
                await w.registry.add_version("old", 1)

"""A head that does not hold on the tier of its base runs on an fp32 runtime beside it; the base keeps its tier."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.versions import Versions
from service.datasets.dataset import Example
from service.engine.served_model import ServedModel
from service.errors import MemoryFull, NotReady
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from service.types import Prediction
from tests.support.registry.fakes import FakeRuntime, World, world
from tests.support.registry.internals import begin_unload, use_versions, version_of
from tests.support.registry.stored_data import store_texts
from tests.support.registry.tier_fakes import Network, TieredWorld, tiered
from tests.support.registry.tuned_versions import publish, with_tuned
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

DATA = "d" * 32
NEAR, FAR = -7.5, -100.0
"""Where a head's classes meet: slope · y + offset is 0 at y = 7.5, close to held-out texts, and at 100, far from them."""
OFF = 1.0
"""What a reduced precision adds to y: at y = 7 the first class changes for a head that is NEAR."""


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Example]]:
    """Data sets of the home, by id: the texts 0 … 9, twenty times over."""
    return store_texts(monkeypatch, DATA, (str(x % 10) for x in range(200)))


def classifier(home: Path, name: str, offset: float, **changes: Any) -> int:
    """Publishes a head of two classes; y = 2 x + 1 of its held-out texts is 1, 3, … 19."""
    numbers = [float(x % 10) for x in range(200)]
    return publish(home, name, 1.0, offset=offset, held_out=(DATA, numbers), **changes)


class Reduced(FakeRuntime):
    """A bf16 runtime whose y is wrong by OFF."""

    precision = "bf16"

    def run(self, tensors: Any) -> Any:
        return {"y": super().run(tensors)["y"] + np.float32(OFF)}


async def ask(w: World, model: str, text: str) -> list[float]:
    reply = await w.inference.infer(w.request(text, model=model))
    [prediction] = reply.predictions
    assert isinstance(prediction, Prediction), prediction
    [tensor] = prediction.tensors.values()
    return [float(value) for value in np.asarray(tensor).ravel()]


def prepared(w: World, home: Path) -> None:
    with_tuned(w, home)
    use_versions(w, home)


def carried(w: World, model: str) -> str:
    runtime = w.registry.status(model).runtime
    assert runtime is not None
    return runtime.carried_by


# ── the tier first, then the head ─────────────────────────────────────────────────────────────────────────────────


async def test_head_that_holds_on_the_tier_runs_there_with_its_figures(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        assert "is stable" in await w.registry.take("moods", classifier(tmp_path, "moods", FAR))
        assert await ask(w, "moods", "3") == [7.0 + OFF + FAR, 0.0]
        assert carried(w, "moods") == "adder"
        status = w.registry.status("moods").runtime
        assert status is not None
        [found] = status.decisions
        assert (found.runs, found.examples, found.flips, found.problem) == ("eager bf16", 200, 0, "")
        assert "adder@fp32" not in w.loader.loads


async def test_head_that_fails_on_the_tier_serves_in_fp32_and_the_base_keeps_its_tier(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        tier = Reduced()
        w.model().use(cast(Any, tier))
        assert "is stable" in await w.registry.take("moods", classifier(tmp_path, "moods", NEAR))
        assert await ask(w, "moods", "3") == [-0.5, 0.0], "as in fp32"
        assert await ask(w, "adder", "3") == [7.0 + OFF], "the base answers on its tier"
        assert w.model().runtime is tier
        assert carried(w, "moods") == "adder@fp32"
        runtime = w.registry.status("moods").runtime
        assert runtime is not None
        assert runtime.precision == "fp32"
        assert runtime.note == "on 'adder' itself, 20 of 200 held-out decisions differ from fp32; at most 2% may"
        [found] = runtime.decisions
        assert (found.runs, found.flips, found.holds) == ("eager bf16", 20, False)
        assert w.registry.ledger.total == 2 * 4096, "the ledger counts the fp32 runtime"
        beside = w.registry.status("adder@fp32")
        assert (beside.state, beside.runtime is not None and beside.runtime.precision) == (ModelState.READY, "fp32")


async def test_heads_in_fp32_share_one_runtime_and_its_batches(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        for name in ("a", "b", "c"):
            await w.registry.take(name, classifier(tmp_path, name, NEAR))
        assert w.loader.loads["adder@fp32"] == 1
        beside = w.runtime("adder@fp32")
        beside.gate.clear()
        first = asyncio.create_task(ask(w, "a", "0"))
        await until(lambda: bool(beside.batches) and beside.batches[-1] == [0.0])
        calls = [asyncio.create_task(ask(w, name, "5")) for name in ("a", "b", "c")]
        await until(lambda: w.registry.resolve("a").queue_depth == 3)
        beside.gate.set()
        assert await asyncio.gather(*calls) == [[3.5, 0.0]] * 3
        await first
        assert beside.batches[-1] == [5.0] * 3


async def test_fp32_runtime_is_removed_with_its_last_head(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        for name in ("a", "b"):
            await w.registry.take(name, classifier(tmp_path, name, NEAR))
        beside = w.runtime("adder@fp32")
        await w.registry.unload("a")
        assert not beside.freed
        await w.registry.unload("b")
        await until(lambda: beside.freed)
        await until(lambda: "adder@fp32" not in [status.name for status in w.registry.statuses()])
        assert w.registry.ledger.total == 4096
        await w.registry.load("a")
        assert await ask(w, "a", "3") == [-0.5, 0.0]
        assert w.loader.loads["adder@fp32"] == 2


async def test_second_version_that_holds_leaves_the_first_in_fp32(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        await w.registry.take("moods", classifier(tmp_path, "moods", NEAR))
        await w.registry.add_version("moods", classifier(tmp_path, "moods", FAR))
        await w.registry.set_traffic("moods", 2, 0.5)
        answers = sorted([await ask(w, "moods", "3") for _ in range(4)])
        assert answers == [[7.0 + OFF + FAR, 0.0]] * 2 + [[-0.5, 0.0]] * 2, (
            "the canary on the tier, the stable one in fp32"
        )
        assert [v.runtime.carried_by for v in w.registry.versions("moods") if v.runtime] == ["adder", "adder@fp32"]


async def test_canary_in_fp32_serves_beside_stable_on_the_tier(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        await w.registry.take("moods", classifier(tmp_path, "moods", FAR))
        await w.registry.add_version("moods", classifier(tmp_path, "moods", NEAR))
        await w.registry.set_traffic("moods", 2, 0.5)
        answers = sorted([await ask(w, "moods", "3") for _ in range(4)])
        assert answers == [[7.0 + OFF + FAR, 0.0]] * 2 + [[-0.5, 0.0]] * 2


async def test_options_of_the_base_apply_to_its_fp32_runtime(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        w.registry.set_options("adder", {"max_queue_size": 50})
        await w.registry.take("moods", classifier(tmp_path, "moods", NEAR))
        assert w.registry.status("adder@fp32").max_queue_size == 50
        w.registry.set_options("adder", {"max_batch_size": 2, "precision": "bf16"})
        options = w.registry.status("adder@fp32").options
        assert (options.max_batch_size, options.precision) == (2, "fp32")


async def test_head_without_its_dataset_is_checked_by_its_golden_items(
    tmp_path: Path, stored: dict[str, list[Example]]
) -> None:
    stored.clear()
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        await w.registry.take("near", classifier(tmp_path, "near", NEAR))
        await w.registry.take("far", classifier(tmp_path, "far", FAR))
        assert (carried(w, "near"), carried(w, "far")) == ("adder@fp32", "adder")
        assert await ask(w, "near", "3") == [-0.5, 0.0]


# ── the head first, then the tier ─────────────────────────────────────────────────────────────────────────────────


async def swapped(it: TieredWorld, home: Path, *heads: tuple[str, float]) -> None:
    """Publishes heads on the eager base, then has bf16 compiled."""
    for name, offset in heads:
        assert "is stable" in await it.world.registry.take(name, classifier(home, name, offset))
    faster = Network(it.clock, 0.002, "bf16", off=0.0)
    faster.tier = "compiled"
    shifted = faster.run

    def run(tensors: Any) -> Any:  # wrong by OFF for held-out texts; right for the base's probes, 3, 4 and 5
        x = np.asarray(tensors["x"], np.float32)
        return {
            "y": shifted(tensors)["y"] + np.where((x == 3.0) | (x == 4.0) | (x == 5.0), 0.0, OFF).astype(np.float32)
        }

    cast(Any, faster).run = run
    it.compiler.offers["bf16"] = faster
    it.tiers.start()
    await it.outcome()


async def test_later_tier_swap_moves_the_base_and_the_heads_that_hold(tmp_path: Path) -> None:
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        await swapped(it, tmp_path, ("near", -13.5), ("far", FAR))
        assert (it.report.tier, it.report.precision, it.report.reason) == ("compiled", "bf16", "")
        w = it.world
        assert (carried(w, "near"), carried(w, "far")) == ("adder@fp32", "adder")
        assert await ask(w, "near", "6") == [-0.5, 0.0], "as before the swap"
        assert await ask(w, "far", "7") == [15.0 + OFF + FAR, 0.0]
        assert await ask(w, "adder", "7") == [15.0 + OFF]
        assert it.before.freed
        noted = json.loads((tmp_path / "versions" / "near" / ".checks-1.json").read_text())
        assert [(found["runs"], found["flips"]) for found in noted.values()] == [("compiled bf16", 20)]


async def test_calls_to_a_head_during_a_swap_are_answered_in_fp32(tmp_path: Path) -> None:
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        answers: list[list[float]] = []
        done = False

        async def caller() -> None:
            while not done:
                answers.append(await ask(it.world, "near", "6"))

        await it.world.registry.take("near", classifier(tmp_path, "near", -13.5))
        calling = [asyncio.create_task(caller()) for _ in range(4)]
        await swapped(it, tmp_path)
        more = len(answers) + 20
        await until(lambda: len(answers) >= more)
        done = True
        await asyncio.gather(*calling)
        assert {tuple(answer) for answer in answers} == {(-0.5, 0.0)}
        assert carried(it.world, "near") == "adder@fp32"


async def test_stored_figures_after_a_restart_are_reused(tmp_path: Path, stored: dict[str, list[Example]]) -> None:
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        await swapped(it, tmp_path, ("near", -13.5), ("far", FAR))
    stored.clear()  # there is nothing left to measure with
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        registry = it.world.registry
        await registry.restore()
        for name in ("near", "far"):
            await registry.load(name, "1")
        await swapped(it, tmp_path)
        assert it.report.precision == "bf16"
        assert (carried(it.world, "near"), carried(it.world, "far")) == ("adder@fp32", "adder")
        report = (await registry.report("near", "1")).report
        [served] = report["serving"]
        assert (served["runs"], served["flips"], served["holds"]) == ("compiled bf16", 20, False)


async def test_base_gets_its_tier_without_memory_for_an_fp32_runtime(tmp_path: Path) -> None:
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        await it.world.registry.take("near", classifier(tmp_path, "near", -13.5))
        load = cast(Any, it.world.loader).load
        full = True

        def loaded(card: Any, precision: str | None = None) -> Any:
            if precision is not None and full:
                raise MemoryFull("there is no memory left", 1.0)
            return load(card, precision)

        cast(Any, it.world.loader).load = loaded
        await swapped(it, tmp_path)
        assert it.report.precision == "bf16"
        assert await ask(it.world, "adder", "7") == [15.0 + OFF]
        assert it.world.registry.status("near").state is ModelState.UNAVAILABLE
        full = False
        await it.world.registry.load("near")
        assert await ask(it.world, "near", "6") == [-0.5, 0.0], "once there is memory, it serves"


async def test_faster_fp32_runtime_that_fails_a_head_is_refused(
    tmp_path: Path, stored: dict[str, list[Example]]
) -> None:
    stored.clear()
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        golden = [(6.0, -0.00390625)]
        number = publish(tmp_path, "near", 1000.0, offset=-13000.00390625, golden=golden, held_out=(DATA, [6.0] * 20))
        assert "is stable" in await it.world.registry.take("near", number)
        it.after.off = 5e-6  # the base allows as much; the head multiplies it by 1,000
        await swapped(it, tmp_path)
        await until(
            lambda: "runs on it" in cast(Any, it.world.registry.status("adder@fp32").runtime).tier_report.reason
        )
        assert it.after.freed
        assert await ask(it.world, "near", "6") == [-0.00390625, 0.0]


async def test_head_with_a_changed_file_is_measured_again(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        await w.registry.take("moods", classifier(tmp_path, "moods", FAR))
    weights = tmp_path / "versions" / "moods" / "1" / "model.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {"head.out.bias": np.array([500.0, 0.0], np.float32)}, weights)  # of the same size
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        await w.registry.restore()
        with pytest.raises(NotReady, match="the golden check failed"):
            await w.registry.load("moods", "1")


# ── budget ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_budget_for_one_network_serves_base_and_head_in_turns(tmp_path: Path) -> None:
    async with world(max_batch_size=16, mib={"adder": 60}, load=False, ledger=Ledger(budget_mib=100)) as w:
        prepared(w, tmp_path)
        load = cast(Any, w.loader).load

        def loaded(card: Any, precision: str | None = None) -> Any:
            made = load(card, precision)
            if precision is None and card.name == "adder":
                cast(Any, made.runtime).precision = "bf16"
                cast(Any, made.runtime).run = lambda tensors: {"y": np.asarray(tensors["x"]) * 2 + 1 + np.float32(OFF)}
            return made

        cast(Any, w.loader).load = loaded
        assert "is stable" in await w.registry.take("moods", classifier(tmp_path, "moods", NEAR))
        for _ in range(2):
            assert await ask(w, "moods", "3") == [-0.5, 0.0]
            assert w.registry.status("adder").state is ModelState.UNAVAILABLE
            assert await ask(w, "adder", "3") == [7.0 + OFF]
            assert w.registry.status("moods").state is ModelState.UNAVAILABLE, "a call brings it back"
        assert w.registry.ledger.total <= 100 << 20
        entry = version_of(w, "moods")
        await w.registry.load("moods")
        await begin_unload(w, entry, "its base runs otherwise than before")
        async with asyncio.timeout(5.0):
            assert await ask(w, "moods", "3") == [-0.5, 0.0], (
                "a caller who waits keeps no memory from what it waits for"
            )


async def test_head_that_fails_in_fp32_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with world(max_batch_size=16) as w:
        prepared(w, tmp_path)
        w.model().use(cast(Any, Reduced()))
        number = classifier(tmp_path, "moods", NEAR, golden=[(3.0, 99.0)])
        broken = Versions(tmp_path).open("moods", number).held_out
        from model_zoo.golden.held_out import HeldOut, read_held_out, write_held_out

        held_out = read_held_out("moods", broken)
        assert held_out is not None
        write_held_out(broken, HeldOut(DATA, held_out.indices, held_out.targets, -held_out.outputs))
        with pytest.raises(NotReady, match="the golden check failed"):
            await w.registry.add_version("moods", number)
        await until(lambda: [s.name for s in w.registry.statuses()] == ["adder", "moods"])
        assert w.registry.ledger.total == 4096
        served = w.registry.resolve("adder")
        assert isinstance(served, ServedModel)
        assert served.rows_in_flight == 0

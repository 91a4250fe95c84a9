"""A candidate replaces the network in service only if it is correct, faster, and its model is still loaded."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.cards.card import Architecture, Card
from service.engine.tier_report import TierReport
from service.registry.loading.memory_ledger import Ledger
from service.registry.states import ModelState
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.lanes.processes import CannotMove
from service.tiering import candidate, stored_evidence
from service.types import Item, Prediction, Tensors
from service.verification.calibration import RealInputs
from service.verification.probes import alone, probe_items
from tests.support.registry.fakes import PATIENCE_S
from tests.support.registry.tier_fakes import (
    Clock,
    Network,
    Processes,
    Task,
    TieredWorld,
    tiered,
)
from tests.support.registry.tuned_versions import publish
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


async def test_correct_and_faster_candidate_is_swapped_in_and_reported() -> None:
    async with tiered(start=False) as it:
        assert it.report == TierReport("eager", "fp32", reason="it waits for the compiler")
        assert (it.tier("eager", "fp32"), it.tier("compiled", "fp32")) == (1.0, 0.0)
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.precision, got.candidate, got.reason) == ("compiled", "fp32", "fake fp32", "")
        assert got.speedup == pytest.approx(2.0)
        assert got.single_speedup == pytest.approx(2.0)
        assert (got.rows_per_s, got.rows_per_s_before) == (pytest.approx(200.0), pytest.approx(100.0))
        assert (got.max_error, got.cosine, got.top1_agreement) == (0.0, pytest.approx(1.0), None)
        assert (got.compile_s, got.cached) == (12.5, False)
        assert it.before.freed
        assert (it.tier("eager", "fp32"), it.tier("compiled", "fp32")) == (0.0, 1.0)
        assert it.world.sample("zoo_model_speedup_ratio", model="adder", version="1") == pytest.approx(2.0)
        rows = it.after.rows
        assert await it.ask("7") == 15.0
        assert it.after.rows == rows + 1
        assert it.threads == ["tiering"]


@pytest.mark.parametrize("off", [0.0, 0.5], ids=["swapped in", "refused"])
async def test_tiers_are_pending_until_the_last_candidate_was_tried(off: float) -> None:
    async with tiered(start=False) as it:
        it.after.off = off

        def pending() -> bool:
            runtime = it.world.registry.status("adder").runtime
            assert runtime is not None
            return runtime.tiers_pending

        assert pending()
        it.tiers.start()
        await it.outcome()
        await until(lambda: not pending())


async def test_candidate_with_wrong_answers_is_refused() -> None:
    async with tiered(start=False) as it:
        it.after.off = 0.5
        it.tiers.start()
        got = await it.outcome()
        assert got.tier == "eager"
        assert got.reason == "it fails the check: outputs differ by 0.5 from the reference; allowed is 1e-05"
        assert got.speedup == 0.0, "what is wrong is not even timed"
        assert it.after.freed
        assert await it.ask("7") == 15.0
        assert it.tier("eager", "fp32") == 1.0


@pytest.mark.parametrize("off", [float("nan"), float("inf")])
async def test_candidate_with_non_finite_answers_is_refused(off: float) -> None:
    async with tiered(start=False) as it:
        it.after.off = off
        it.tiers.start()
        assert (await it.outcome()).reason.startswith("it fails the check: ")
        assert it.after.freed


async def test_candidate_depending_on_the_batch_is_refused() -> None:
    async with tiered(start=False) as it:
        it.after.batched_off = 0.25
        it.tiers.start()
        assert "outputs differ by 0.25" in (await it.outcome()).reason


async def test_candidate_failing_the_golden_check_is_refused() -> None:
    async with tiered(start=False) as it:
        assert it.task is not None
        it.task.golden_says = "expected tiger cat, got teapot"
        it.tiers.start()
        assert "expected tiger cat, got teapot" in (await it.outcome()).reason


@pytest.mark.parametrize(("seconds", "ratio"), [(0.010, "1"), (0.0099, "1.01"), (0.020, "0.5")])
async def test_candidate_that_is_not_faster_is_refused(seconds: float, ratio: str) -> None:
    async with tiered(start=False) as it:
        it.after.seconds = seconds
        it.tiers.start()
        got = await it.outcome()
        assert got.tier == "eager"
        expected = "expected at least 1.05 in the mean and 0.9 at both"
        assert got.reason == f"it is {ratio} times as fast at 4 rows and {ratio} times at one; {expected}"
        assert it.after.freed
        assert not it.before.freed


async def test_candidate_much_faster_for_single_rows_is_swapped_in() -> None:
    async with tiered(start=False) as it:
        it.after.seconds, it.after.alone_s = 0.0102, 0.005
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.reason) == ("compiled", "")
        assert (got.speedup, got.single_speedup) == (pytest.approx(0.98, abs=0.01), pytest.approx(2.0))


@pytest.mark.parametrize(("together_s", "alone_s"), [(0.0125, 0.001), (0.001, 0.0125)])
async def test_candidate_slower_at_one_batch_size_is_refused(together_s: float, alone_s: float) -> None:
    async with tiered(start=False) as it:
        it.after.seconds, it.after.alone_s = together_s, alone_s
        it.tiers.start()
        got = await it.outcome()
        assert got.tier == "eager"
        assert "0.8 times" in got.reason


async def test_uncompilable_network_reports_the_reason() -> None:
    async with tiered(start=False) as it:
        it.compiler.offers["fp32"] = CannotCompile("there is no C++ compiler on this machine")
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.reason) == ("eager", "there is no C++ compiler on this machine")
        assert await it.ask("1") == 3.0


async def test_network_that_writes_token_by_token_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Card, "generates", property(lambda self: True))
    async with tiered() as it:
        assert (it.report.tier, "token by token" in it.report.reason) == ("eager", True)
        assert it.compiler.asked == []


async def test_optimize_off_compiles_nothing() -> None:
    async with tiered(optimize="off") as it:
        assert it.report == TierReport("eager", "fp32", reason="optimize is off")
        assert it.compiler.asked == []
        assert it.tier("eager", "fp32") == 1.0


@pytest.mark.parametrize(
    ("precision", "has_bf16", "asked"),
    [("auto", False, ["fp32"]), ("auto", True, ["bf16", "fp32"]), ("bf16", False, ["bf16"]), ("fp32", True, ["fp32"])],
)
async def test_precisions_are_tried_in_the_configured_order(precision: str, has_bf16: bool, asked: list[str]) -> None:
    async with tiered(precision=precision, has_bf16=has_bf16, start=False) as it:
        it.compiler.offers = {}
        it.tiers.start()
        await until(lambda: it.report.candidate == f"fake {asked[-1]}")
        assert it.compiler.asked == asked
        assert it.report.reason == "no compiler"


async def test_first_correct_precision_ends_the_search() -> None:
    async with tiered(has_bf16=True, start=False) as it:
        it.compiler.offers["bf16"] = Network(it.clock, 0.002, "bf16", off=0.01)
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.precision) == ("compiled", "bf16")
        assert got.max_error == pytest.approx(0.01, rel=1e-3)
        assert it.compiler.asked == ["bf16"]
        assert (await it.world.inference.infer(it.world.request("2"))).timing.precision == "bf16"


async def test_precision_that_is_not_close_is_followed_by_the_next() -> None:
    async with tiered(has_bf16=True, start=False) as it:
        it.compiler.offers["bf16"] = wrong = Network(it.clock, 0.002, "bf16", off=-40.0)
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert it.report.precision == "fp32"
        assert wrong.freed


async def unloaded_meanwhile(it: TieredWorld, away: Callable[[], Any]) -> None:
    it.compiler.gate.clear()
    it.tiers.start()
    await until(lambda: bool(it.compiler.asked))
    await away()
    it.compiler.gate.set()
    await until(lambda: it.after.freed)


async def test_unload_during_a_compilation_drops_the_result() -> None:
    async with tiered(start=False) as it:
        await unloaded_meanwhile(it, lambda: it.world.registry.unload("adder"))
        assert it.world.registry.status("adder").runtime is None
        assert it.tier("eager", "fp32") == it.tier("compiled", "fp32") == 0.0


async def test_stop_ends_the_compilation_and_changes_nothing() -> None:
    async with tiered(start=False) as it:
        it.compiler.gate.clear()
        it.tiers.start()
        await until(lambda: bool(it.compiler.asked))
        it.tiers.stop()
        it.tiers.stop()
        assert it.compiler.stopped
        await asyncio.to_thread(it.tiers._thread.join, PATIENCE_S)
        assert not it.tiers._thread.is_alive()
        assert not it.before.freed


async def test_calls_during_a_swap_are_answered_correctly() -> None:
    async with tiered(start=False) as it:
        asked = [asyncio.create_task(it.ask(str(n))) for n in range(40)]
        it.tiers.start()
        answers = await asyncio.gather(*asked)
        await until(lambda: it.report.tier == "compiled")
        assert answers == [2.0 * n + 1 for n in range(40)]


# ── several compilers ────────────────────────────────────────────────────────────────────────────────────────────────


def two_compilers(it: TieredWorld, quick_s: float, slow_s: float, has_bf16: bool = False) -> tuple[Network, Network]:
    """Offers of two compilers in fp32, or bf16, which take so many seconds a row; the eager network takes 0.01."""
    precision = "bf16" if has_bf16 else "fp32"
    networks = Network(it.clock, quick_s, precision), Network(it.clock, slow_s, precision)
    it.compiler.compilers = ("quick", "slow")
    it.compiler.offers = dict(zip((f"quick {precision}", f"slow {precision}"), networks, strict=True))
    return networks


async def test_slow_compiler_replaces_a_quick_one_where_it_is_faster_again() -> None:
    async with tiered(start=False) as it:
        quick, slow = two_compilers(it, 0.005, 0.004)
        it.tiers.start()
        await until(lambda: it.report.compiler == "slow")
        assert it.compiler.asked == ["quick fp32", "slow fp32"]
        assert (it.report.candidate, it.report.reason) == ("slow fp32", "")
        assert it.report.speedup == pytest.approx(2.5), "over the eager tier, as before"
        assert quick.freed
        assert not slow.freed


@pytest.mark.parametrize("slow_s", [0.0049, 0.006])
async def test_slow_compiler_that_gains_too_little_leaves_the_quick_one_and_its_report(slow_s: float) -> None:
    async with tiered(start=False) as it:
        quick, slow = two_compilers(it, 0.005, slow_s)
        it.tiers.start()
        await until(lambda: slow.freed)
        assert (it.report.candidate, it.report.compiler, it.report.reason) == ("quick fp32", "quick", "")
        assert it.report.speedup == pytest.approx(2.0)
        assert not quick.freed
        assert it.tier("compiled", "fp32") == 1.0


async def test_failing_slow_compiler_leaves_the_report_of_the_quick_one() -> None:
    async with tiered(start=False) as it:
        quick, _ = two_compilers(it, 0.005, 0.004)
        it.compiler.offers["slow fp32"] = CannotCompile("there is no C++ compiler on this machine")
        it.tiers.start()
        await until(lambda: it.compiler.asked == ["quick fp32", "slow fp32"])
        await until(it.tiers._work.empty)
        assert (it.report.compiler, it.report.reason) == ("quick", "")
        assert not quick.freed


@pytest.mark.parametrize("failure", [CannotCompile("no operation"), RuntimeError("it ends its process")])
async def test_slow_compiler_serves_where_the_quick_one_fails(failure: Exception) -> None:
    async with tiered(start=False) as it:
        two_compilers(it, 0.005, 0.004)
        it.compiler.offers["quick fp32"] = failure
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert (it.report.compiler, it.report.candidate) == ("slow", "slow fp32")


async def test_int8_is_tried_only_on_request_and_before_others() -> None:
    async with tiered(precision="int8", has_bf16=True, start=False) as it:
        it.compiler.compilers = ("quick", "slow")
        it.compiler.offers = {"quick int8": Network(it.clock, 0.002, "int8")}
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert (it.report.precision, it.report.compiler, it.report.reason) == ("int8", "quick", "")
        assert await it.ask("7") == 15.0
        assert it.tier("compiled", "int8") == 1.0
        it.tiers.stop()
        assert it.compiler.asked == ["quick int8"], "a slow compiler has no int8, and nothing else was requested"


async def test_refused_int8_gives_way_to_the_other_precisions_and_says_why() -> None:
    async with tiered(precision="int8", has_bf16=True, start=False) as it:
        it.compiler.offers["int8"] = wrong = Network(it.clock, 0.002, "int8", off=-40.0)
        it.compiler.offers["bf16"] = Network(it.clock, 0.003, "bf16")
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert it.report.precision == "bf16"
        assert it.report.reason.startswith("int8 was not possible: it fails the check: ")
        assert it.compiler.asked == ["int8", "bf16"]
        assert wrong.freed


async def test_network_that_stays_eager_says_why_it_is_not_in_int8_as_well() -> None:
    async with tiered(precision="int8", start=False) as it:
        it.compiler.offers = {"int8": CannotCompile("no examples")}
        it.tiers.start()
        await until(lambda: it.report.reason == "no compiler; int8 was not possible: no examples")
        assert it.report.tier == "eager"


async def test_quantised_network_is_judged_by_real_inputs_beside_the_golden_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def items(*numbers: float) -> tuple[Item, ...]:
        return tuple(Item({"x": np.array([number], np.float32)}) for number in numbers)

    class RightForGoldenInputs(Network):
        """As a network that was quantised by too few inputs."""

        def run(self, tensors: Tensors) -> dict[str, Any]:
            outputs = super().run(tensors)
            return {"y": np.where(np.asarray(tensors["x"]) > 100, -1.0, outputs["y"]).astype(np.float32)}

    monkeypatch.setattr(candidate, "real_inputs", lambda *_: RealInputs(items(80, 81), items(200, 201)))
    async with tiered(precision="int8", start=False) as it:
        given: list[float] = []
        compile_one = it.compiler.compile

        def compile_and_calibrate(card: Any, precision: str, compiler: str, calibration: Any) -> Any:
            if precision == "int8":
                given.extend(float(batch["x"].item()) for batch in calibration())
            return compile_one(card, precision, compiler)

        it.compiler.compile = compile_and_calibrate  # type: ignore[method-assign]
        it.compiler.offers["int8"] = RightForGoldenInputs(it.clock, 0.002, "int8")
        it.tiers.start()
        await until(lambda: it.report.tier == "compiled")
        assert given[-2:] == [80.0, 81.0]
        assert {3.0, 4.0, 5.0} <= {*given}, "the golden inputs, of extreme lengths with other models"
        assert not {200.0, 201.0} & {*given}
        assert it.report.precision == "fp32"
        assert it.report.reason.startswith(
            "int8 was not possible: it fails the check: the cosine to the reference is -1"
        )


async def test_report_says_what_is_being_compiled() -> None:
    async with tiered(start=False) as it:
        it.compiler.gate.clear()
        it.tiers.start()
        await until(lambda: it.report.reason == "fake fp32 is being compiled and checked")
        it.compiler.gate.set()
        assert (await it.outcome()).reason == ""


async def test_trial_of_a_candidate_ends_with_its_check() -> None:
    async with tiered(start=False, has_bf16=True) as it:
        it.compiler.offers["bf16"] = Network(it.clock, 0.002, "bf16", off=-40.0)
        it.tiers.start()
        await until(lambda: it.compiler.trials == ["bf16", "end of bf16", "fp32", "end of fp32"])
        assert it.report.tier == "compiled"


async def test_quick_compiler_has_its_turn_for_every_model_before_the_slow_one() -> None:
    async with tiered(start=False, names=("adder", "second")) as it:
        asked: list[tuple[str, str]] = []
        compile_one = it.compiler.compile

        def compile_and_note(card: Any, precision: str, compiler: str, calibration: Any) -> Any:
            asked.append((card.name, compiler))
            return compile_one(card, precision, compiler)

        it.compiler.compile = compile_and_note  # type: ignore[method-assign]
        it.compiler.compilers = ("quick", "slow")
        it.compiler.offers = {}
        load = it._load_others

        def with_reference(card: Any) -> Any:
            loaded = load(card)
            return replace(
                loaded, reference=alone(Task(card), loaded.runtime, probe_items(Task(card))), task=Task(card)
            )

        it._load_others = with_reference
        loaded = await it.world.registry.load("second")
        assert loaded.state is ModelState.READY, loaded.reason
        it.tiers.start()
        await until(lambda: len(asked) == 4)
        assert asked == [("adder", "quick"), ("second", "quick"), ("adder", "slow"), ("second", "slow")]


async def test_slow_compiler_does_not_try_a_slower_precision_than_the_one_that_serves() -> None:
    async with tiered(start=False, has_bf16=True) as it:
        _, slow = two_compilers(it, 0.004, 0.005, has_bf16=True)
        it.tiers.start()
        await until(lambda: slow.freed)
        await until(it.tiers._work.empty)
        assert it.compiler.asked == ["quick bf16", "slow bf16"]


# ── two networks of one model ───────────────────────────────────────────────────────────────────────────────────────────


def for_few_and_for_many(it: TieredWorld) -> tuple[Network, Network]:
    """The quick compiler's network is faster for one row, the slow compiler's for more."""
    quick, slow = two_compilers(it, 0.005, 0.004)
    quick.alone_s, slow.alone_s = 0.002, 0.008
    return quick, slow


async def test_network_that_is_faster_for_many_rows_serves_beside_the_one_for_few() -> None:
    async with tiered(start=False) as it:
        for_few_and_for_many(it)
        it.tiers.start()
        await until(lambda: it.report.compiler == "quick+slow")
        assert (it.report.tier, it.report.candidate, it.report.reason) == ("compiled", "slow fp32", "")
        assert (it.report.speedup, it.report.single_speedup) == (pytest.approx(2.5), pytest.approx(5.0))
        assert it.compiler.loaded == ["quick fp32", "slow fp32", "quick fp32"]
        first, slow, quick = it.compiler.given
        await until(lambda: first.freed)
        rows = quick.rows, slow.rows
        assert await it.ask("7") == 15.0
        assert (quick.rows - rows[0], slow.rows - rows[1]) == (1, 0)
        assert not quick.freed
        await it.world.registry.unload("adder")
        assert quick.freed
        assert slow.freed


async def test_two_networks_of_a_model_need_memory_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "free_bytes", lambda: 4096)
    async with tiered(start=False) as it:
        _, slow = for_few_and_for_many(it)
        it.tiers.start()
        await until(lambda: slow.freed)
        assert it.report.compiler == "quick"


async def test_two_networks_of_a_model_are_not_kept_under_a_memory_budget() -> None:
    async with tiered(start=False, ledger=Ledger(budget_mib=1000)) as it:
        _, slow = for_few_and_for_many(it)
        it.tiers.start()
        await until(lambda: slow.freed)
        assert it.report.compiler == "quick"


async def test_two_networks_of_a_model_serve_at_once_by_stored_evidence() -> None:
    async with tiered(start=False) as it:
        for_few_and_for_many(it)
        it.tiers.start()
        await until(lambda: it.report.compiler == "quick+slow")
        first = it.report
        await it.world.registry.unload("adder")
        it.before = Network(it.clock, 0.010)
        _, slow = for_few_and_for_many(it)
        await it.world.registry.load("adder")
        await until(lambda: it.report.compiler == "quick+slow")
        assert it.report.speedup == pytest.approx(first.speedup)
        assert slow.rows == 0, "the first golden input is alone, so the other network runs it"


# ── stored evidence ───────────────────────────────────────────────────────────────────────────────────────────────────


async def again(it: TieredWorld, off: float = 0.0) -> Network:
    """Loads the model once more, with the evidence of the first time. Returns the network that the compiler has for it."""
    await it.world.registry.unload("adder")
    it.before = Network(it.clock, 0.010)
    it.after = Network(it.clock, 0.005, off=off)
    it.compiler.offers["fp32"] = it.after
    await it.world.registry.load("adder")
    return it.after


async def test_stored_evidence_swaps_the_network_in_after_one_batch() -> None:
    async with tiered() as it:
        first = await it.outcome()
        network = await again(it)
        second = await it.outcome()
        assert (second.tier, second.speedup, second.reason) == ("compiled", pytest.approx(first.speedup), "")
        assert network.rows == 1
        assert await it.ask("7") == 15.0


async def test_stored_refusal_loads_nothing() -> None:
    async with tiered(start=False) as it:
        it.after.seconds = 0.02
        it.tiers.start()
        first = await it.outcome()
        loaded = len(it.compiler.loaded)
        await again(it)
        second = await it.outcome()
        assert second.reason == first.reason
        assert len(it.compiler.loaded) == loaded


async def test_network_that_is_wrong_despite_its_evidence_is_measured_and_refused() -> None:
    async with tiered() as it:
        await it.outcome()
        network = await again(it, off=0.5)
        got = await it.outcome()
        assert got.reason.startswith("it fails the check: outputs differ by 0.5")
        assert network.freed


@pytest.mark.parametrize("change", ["the card", "the limits", "a library", "the figures", "another file"])
async def test_evidence_of_other_conditions_is_measured_again(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tiered() as it:
        await it.outcome()
        if change == "a library":
            monkeypatch.setattr(stored_evidence, "compiler_version", lambda name: "2099.1")
        elif change == "the figures":
            for found in it.compiler.stored["fp32"].values():
                found["report"]["speedup"] = "fast"
        elif change == "another file":
            it.compiler.stored.clear()
        elif change == "the card":
            monkeypatch.setattr(stored_evidence, "FORMAT", stored_evidence.FORMAT + 1)
        else:
            monkeypatch.setattr(stored_evidence, "BOUNDS", -1)
        network = await again(it)
        await it.outcome()
        assert network.rows > 1


async def test_network_refused_beside_requests_for_its_speed_is_measured_again() -> None:
    async with tiered(start=False) as it:
        it.after.seconds = 0.02
        it.tiers._pacing._busy = lambda: True
        it.tiers.start()
        assert "times as fast" in (await it.outcome()).reason
        assert it.compiler.stored == {}


# ── heads on the network ──────────────────────────────────────────────────────────────────────────────────────────────

OFF = 5e-6
"""Within what the base's card allows its own outputs; a head that multiplies it by a thousand answers otherwise."""


async def with_head(it: TieredWorld, home: Path, slope: float) -> None:
    outcome = await it.world.registry.take("mood", publish(home, "mood", slope))
    assert "is stable" in outcome, outcome


async def ask_head(it: TieredWorld) -> float:
    reply = await it.world.inference.infer(it.world.request("3", model="mood"))
    [prediction] = reply.predictions
    assert isinstance(prediction, Prediction)
    return float(prediction.tensors["logits"][0])


async def test_tier_that_fails_a_head_serves_all_other_callers(tmp_path: Path) -> None:
    async with tiered(start=False, home=tmp_path) as it:
        await with_head(it, tmp_path, 1000.0)
        it.after.off = OFF
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.precision, got.reason) == ("compiled", "fp32", "")
        assert await it.ask("7") == pytest.approx(15.0 + OFF, abs=1e-6)
        assert await ask_head(it) == 7000.0, "the head is answered in eager fp32"
        assert [network.freed for network in it.beside] == [False]


async def test_tier_on_which_all_heads_hold_serves_them(tmp_path: Path) -> None:
    async with tiered(start=False, home=tmp_path) as it:
        await with_head(it, tmp_path, 1.0)
        it.after.off = OFF
        it.tiers.start()
        await it.outcome()
        assert it.report.tier == "compiled"
        assert it.before.freed
        assert await ask_head(it) == pytest.approx(7.0 + OFF, abs=1e-6)


async def test_heads_in_a_reduced_precision_are_checked_by_their_cards(tmp_path: Path) -> None:
    async with tiered(has_bf16=True, start=False, home=tmp_path) as it:
        await with_head(it, tmp_path, 10.0)
        it.compiler.offers["bf16"] = Network(it.clock, 0.002, "bf16", off=0.01)
        it.tiers.start()
        got = await it.outcome()
        assert (got.tier, got.precision) == ("compiled", "bf16")
        assert await ask_head(it) == pytest.approx(70.1, abs=0.01)


async def test_head_loaded_during_the_head_checks_is_checked(tmp_path: Path) -> None:
    async with tiered(start=False, home=tmp_path) as it:
        await with_head(it, tmp_path, 1000.0)
        heads_on, calls = it.world.registry.heads_on, 0

        def not_there_yet(served: Any) -> Any:
            nonlocal calls
            calls += 1
            return [] if calls == 1 else heads_on(served)

        cast(Any, it.world.registry).heads_on = not_there_yet
        it.after.off = OFF
        it.tiers.start()
        await it.outcome()
        assert it.report.tier == "compiled"
        assert await ask_head(it) == 7000.0


async def test_head_with_unreadable_golden_items_stays_in_fp32(tmp_path: Path) -> None:
    async with tiered(start=False, home=tmp_path) as it:
        await with_head(it, tmp_path, 1.0)
        (tmp_path / "versions" / "mood" / "1" / "golden.safetensors").write_bytes(b"damaged")
        it.tiers.start()
        await it.outcome()
        assert it.report.tier == "compiled"
        assert await ask_head(it) == 7.0
        assert len(it.beside) == 1


# ── what stays eager moves ────────────────────────────────────────────────────────────────────────────────────────────


async def test_eager_network_moves_into_processes() -> None:
    there = Network(Clock(), 0.010)
    processes = Processes(there)
    async with tiered(optimize="off", processes=processes) as it:
        await until(lambda: it.report.processes == 2)
        assert it.report == TierReport("eager", "fp32", processes=2, reason="optimize is off")
        assert processes.asked == [("adder", "fp32")]
        assert it.before.freed
        rows = there.rows
        assert await it.ask("7") == 15.0
        assert there.rows == rows + 1


async def test_network_without_a_faster_tier_moves_into_processes_with_its_reason() -> None:
    there = Network(Clock(), 0.010)
    async with tiered(start=False, processes=Processes(there)) as it:
        it.compiler.offers["fp32"] = CannotCompile("there is no C++ compiler on this machine")
        it.tiers.start()
        await until(lambda: it.report.processes == 2)
        assert (it.report.tier, it.report.reason) == ("eager", "there is no C++ compiler on this machine")


async def test_compiled_network_stays_in_the_server_process() -> None:
    processes = Processes(Network(Clock(), 0.010))
    async with tiered(processes=processes) as it:
        await until(lambda: it.report.tier == "compiled")
        await until(it.tiers._work.empty)
        assert processes.asked == []


async def test_network_with_other_answers_in_processes_stays() -> None:
    there = Network(Clock(), 0.010, off=0.5)
    async with tiered(optimize="off", processes=Processes(there)) as it:
        await until(lambda: there.freed)
        assert it.report == TierReport("eager", "fp32", reason="optimize is off")
        assert await it.ask("7") == 15.0
        assert not it.before.freed


async def test_network_that_cannot_move_stays() -> None:
    processes = Processes(CannotMove("its weights have left this machine"))
    async with tiered(optimize="off", processes=processes) as it:
        await until(lambda: bool(processes.asked))
        assert await it.ask("7") == 15.0
        assert it.report == TierReport("eager", "fp32", reason="optimize is off")


@pytest.mark.parametrize(
    ("compilers", "asked", "reason"),
    [
        (("openvino", "aotinductor"), ["openvino fp32"], "openvino was asked"),
        (("aotinductor",), [], "no compiler on this machine reads ONNX files"),
    ],
)
async def test_onnx_file_is_compiled_by_what_reads_it_in_its_own_precision(
    compilers: tuple[str, ...], asked: list[str], reason: str
) -> None:
    processes = Processes(CannotMove("no process is asked"))
    async with tiered(has_bf16=True, start=False, processes=processes) as it:
        served = cast(Any, it.world.registry.resolve("adder"))
        served.card = served.card.model_copy(update={"architecture": Architecture(builder="onnx")})
        it.compiler.compilers = compilers
        it.compiler.offers["openvino fp32"] = CannotCompile(reason)
        it.tiers._work.get()  # of the network of torch that was loaded
        it.tiers._model_ready(served)
        it.tiers.start()
        got = await it.outcome()
        assert processes.asked == []
        assert (got.tier, got.reason, it.compiler.asked) == ("eager", reason, asked)

"""The probes of a network before it serves, and the comparison of its answers."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.types import Item, Tensors, TextInstance
from service.verification.probes import (
    Comparison,
    alone,
    batched,
    closeness,
    closeness_problem,
    compare,
    invariance_problem,
    probe_items,
)
from tests.support.model_zoo.real_models import names_with_tests
from tests.support.registry.fakes import FakeTask, card


class Task(FakeTask):
    def golden_instance(self, given: object) -> Any:
        return TextInstance(b"3")

    def golden_texts(self, expect: object) -> list[str]:
        return ["4", "5", "6"]


TASK = Task(card())
ITEMS = probe_items(TASK)


def network(change: Callable[[np.ndarray], Any] = lambda x: 0.0) -> Any:
    """y = 2 x + 1 + `change` of the batch."""
    return SimpleNamespace(run=lambda tensors: {"y": tensors["x"] * 2 + 1 + np.float32(change(tensors["x"]))})


EXACT = alone(TASK, network(), ITEMS)


def test_answers_independent_of_the_batch_pass() -> None:
    assert invariance_problem(TASK, network(), EXACT, ITEMS) is None


def test_answer_depending_on_the_batch_size_is_reported_with_the_figure() -> None:
    problem = invariance_problem(TASK, network(lambda x: 0.25 * (len(x) - 1)), EXACT, ITEMS)
    assert problem == "an answer in a batch of 4 differs by 0.75 from the one alone; allowed is 1e-05"


def test_answer_depending_on_its_neighbours_is_reported_with_the_figure() -> None:
    assert invariance_problem(TASK, network(lambda x: np.full_like(x, x.max() - x.min())), EXACT, ITEMS) is not None


def test_comparison_runs_every_input_alone_and_most_in_batches() -> None:
    seen: list[int] = []

    def run(tensors: Tensors) -> dict[str, Any]:
        seen.append(len(tensors["x"]))
        return {"y": tensors["x"]}

    compare(TASK, SimpleNamespace(run=run), EXACT, ITEMS, 4)
    assert seen[: len(ITEMS)] == [1] * len(ITEMS)
    assert {*seen} == {1, 2, 3, 4}
    for count in range(2, 16):  # whatever the number of inputs: none is its own neighbour
        items = [Item({"x": np.array([float(i)], np.float32)}) for i in range(count)]
        for batch in batched(TASK, network(), items, [2, 3, 4]):
            numbers = [number for number, _ in batch]
            assert len({*numbers}) == min(len(numbers), count)


def test_comparison_finds_errors_in_any_row() -> None:
    found = compare(TASK, network(lambda x: 0.5 * (len(x) == 3)), EXACT, ITEMS, 4)
    assert found.max_error == pytest.approx(0.5)
    found = compare(TASK, network(lambda x: -20.0), EXACT, ITEMS, 4)
    assert found.cosine == pytest.approx(-1.0)


# ── thresholds ────────────────────────────────────────────────────────────────────────────────────────────────────

CNN = Catalog.from_package().get("efficientnet_lite0")


@pytest.mark.parametrize(
    ("precision", "found", "problem"),
    [
        ("fp32", Comparison(0.0009, 0.99999, 1.0), None),
        ("fp32", Comparison(0.0011, 0.99999, 1.0), "outputs differ by 0.0011 from the reference; allowed is 0.001"),
        ("fp32", Comparison(0.0, 0.9998, 1.0), "the cosine to the reference is 0.99980; expected at least 0.9999"),
        ("fp32", Comparison(0.0, 1.0, 0.98), "2.0% of decisions differ from those of the reference; at most 0.0% may"),
        ("fp32", Comparison(float("nan"), 1.0, 1.0), "outputs differ by nan from the reference; allowed is 0.001"),
        ("bf16", Comparison(0.4, 0.9991, 0.98), None),
        ("bf16", Comparison(0.4, 0.9989, 1.0), "the cosine to the reference is 0.99890; expected at least 0.999"),
        (
            "fp16",
            Comparison(0.4, 0.9991, 0.97),
            "3.0% of decisions differ from those of the reference; at most 2.0% may",
        ),
        ("bf16", Comparison(0.4, 0.9991, None), None),
        ("bf16", Comparison(float("inf"), 0.9991, None), "outputs are not finite"),
    ],
)
def test_closeness_bounds_come_from_the_card(precision: str, found: Comparison, problem: str | None) -> None:
    assert closeness_problem(CNN, precision, found) == problem


def test_classes_nearly_equal_in_the_reference_are_equally_right() -> None:
    """The cat of the golden photo is as much an Egyptian as a tiger cat: their logits are 9.246 and 9.244."""
    reference = [{"logits": np.array([9.246, 9.244, 8.5], np.float32)}]

    def agreement(logits: list[float]) -> float | None:
        return closeness(CNN, [(0, {"logits": np.array(logits, np.float32)})], reference).top1_agreement

    assert agreement([9.23, 9.25, 8.5]) == 1.0, "rounding decides between them"
    assert agreement([9.23, 9.22, 9.24]) == 0.0, "the third is no match for them"


def test_card_bound_on_the_error_of_a_reduced_precision_applies() -> None:
    bounds = CNN.tolerance.reduced_precision.model_copy(update={"max_abs_error": 0.1})
    tolerance = CNN.tolerance.model_copy(update={"reduced_precision": bounds})
    strict = CNN.model_copy(update={"tolerance": tolerance})
    problem = closeness_problem(strict, "bf16", Comparison(0.4, 0.9991, 1.0))
    assert problem == "outputs differ by 0.4 from the reference; allowed is 0.1"


# ── the real models ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.weights
@pytest.mark.parametrize("name", names_with_tests())
def test_real_networks_with_mixed_lengths_pass(name: str, served: Any) -> None:
    real = served(name)
    items = probe_items(real.task)
    assert len(items) >= 5  # a short first one has few lengths below it
    if real.card.batching.max_length is not None:
        lengths = {item.length for item in items}
        assert {1, 2} <= lengths
        assert max(lengths) >= min(8 * items[0].length, real.card.batching.max_length)
        assert max(lengths) <= real.card.batching.max_length
    reference = alone(real.task, real.runtime, items)
    assert invariance_problem(real.task, real.runtime, reference, items) is None
    itself = compare(real.task, real.runtime, reference, items, 4)
    assert closeness_problem(real.card, "fp32", itself) is None
    decides = not real.card.task.endswith(("feature-extraction", "image-to-image", "regression", "forecasting"))
    assert itself.top1_agreement == (1.0 if decides else None)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["all_minilm_l6_v2", "silero_vad"])
def test_padding_that_leaks_into_answers_is_reported(name: str, served: Any) -> None:
    real = served(name)
    items = probe_items(real.task)
    reference = alone(real.task, real.runtime, items)

    class Leaky:
        """Answers depend on how far a batch is padded."""

        def run(self, tensors: Tensors) -> Any:
            width = next(iter(tensors.values())).shape[1]
            return {k: v + np.float32(1e-6 * width) for k, v in real.runtime.run(tensors).items()}

    own = alone(real.task, Leaky(), items)
    assert invariance_problem(real.task, Leaky(), own, items) is not None
    assert invariance_problem(real.task, real.runtime, reference, items) is None

"""A version holds on another tier by its decisions, never by the distance of its logits."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.decisions import Decisions
from service.verification.judgement import MAX_FLIPS, decides, judge
from tests.support.registry.fakes import card

Floats = NDArray[np.float32]


def classifier(**changes: Any) -> Any:
    return card("moods", task="text-classification", **changes)


def answers(count: int, classes: int = 4, seed: int = 0) -> tuple[Floats, NDArray[np.float64]]:
    """Logits with clear winners, and the classes that they name."""
    drawn = np.random.default_rng(seed)
    targets = drawn.integers(0, classes, count)
    logits = drawn.normal(0.0, 0.1, (count, classes)).astype(np.float32)
    logits[np.arange(count), targets] += 5.0
    return logits, targets.astype(np.float64)


def flipped(logits: Floats, count: int) -> Floats:
    """The same, with other winners in the first rows."""
    other = logits.copy()
    other[:count] = np.roll(other[:count], 1, axis=1)
    return other


def test_logits_changed_without_a_flip_hold() -> None:
    logits, targets = answers(210)
    turned = logits + np.float32(0.3) * np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    cosine = (logits * turned).sum(1) / np.linalg.norm(logits, axis=1) / np.linalg.norm(turned, axis=1)
    assert cosine.min() < 0.99, "no bound on a cosine would take it"
    found = judge(classifier(), "compiled bf16", logits, turned, targets)
    assert (found.holds, found.flips, found.examples, found.metric) == (True, 0, 210, "accuracy")
    assert (found.reference, found.value, found.change) == (1.0, 1.0, 0.0)
    assert found.flips_low == 0.0
    assert 0.015 < found.flips_high < 0.02, "no flip of 210 leaves 1.8 % possible"


def test_close_logits_with_flips_do_not_hold() -> None:
    targets = np.zeros(100)
    near = np.tile(np.array([[10.0, 9.99]], np.float32), (100, 1))
    other = near.copy()
    other[:5] = other[:5, ::-1]
    found = judge(classifier(), "compiled bf16", near, other, targets)
    assert found.flips == 5
    assert not found.holds
    assert found.problem == "5 of 100 held-out decisions differ from fp32; at most 2% may"


@pytest.mark.parametrize(
    ("examples", "flips", "holds"), [(10, 1, True), (10, 2, False), (210, 2, True), (1000, 10, True), (1000, 20, False)]
)
def test_single_flip_is_allowed_and_more_are_bounded_by_share_and_metric(
    examples: int, flips: int, holds: bool
) -> None:
    logits, targets = answers(examples)
    found = judge(classifier(), "eager bf16", logits, flipped(logits, flips), targets)
    assert found.flips == flips
    assert found.holds is holds, found.problem
    if flips == 20:
        assert flips <= MAX_FLIPS * examples
        assert found.problem == (
            "accuracy is 0.98 on 1000 held-out examples, in fp32 1; it may be worse by 0.01 at most"
        )


def test_improved_decisions_hold_while_flips_are_few() -> None:
    logits, targets = answers(400)
    found = judge(classifier(), "eager bf16", flipped(logits, 6), logits, targets)
    assert found.holds
    assert found.change == pytest.approx(6 / 400)
    assert found.change_low < found.change < found.change_high


def test_unbalanced_classes_are_judged_by_macro_f1() -> None:
    targets = np.zeros(200)
    targets[:20] = 1
    logits = np.zeros((200, 2), np.float32)
    logits[np.arange(200), targets.astype(int)] = 3.0
    other = logits.copy()
    other[:4] = other[:4, ::-1]  # a fifth of the rare class
    found = judge(classifier(), "eager bf16", logits, other, targets)
    assert found.metric == "macro_f1"
    assert found.flips == 4
    assert not found.holds, "2 % of flips, all of the rare class"


@pytest.mark.parametrize(("off", "holds"), [(0.001, True), (0.02, False)])
def test_regression_is_judged_by_its_error(off: float, holds: bool) -> None:
    drawn = np.random.default_rng(0)
    target = {"mean": 100.0, "std": 20.0}
    numbers = card("houses", task="regression", target=target)
    truth = drawn.normal(100.0, 20.0, 300)
    fp32 = ((truth + drawn.normal(0.0, 5.0, 300) - 100.0) / 20.0).astype(np.float32)[:, None]
    worse = fp32 + np.float32(off) * np.sign(fp32 * 20.0 + 100.0 - truth[:, None]).astype(np.float32)
    found = judge(numbers, "compiled bf16", fp32, worse, truth)
    assert (found.metric, found.flips) == ("mae", None)
    assert found.holds is holds
    assert found.reference == pytest.approx(4.0, rel=0.1)
    assert found.change == pytest.approx(off * 20.0, rel=1e-3)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_non_finite_answers_do_not_hold(number: float) -> None:
    logits, targets = answers(50)
    other = logits.copy()
    other[7, int(targets[7])] = number
    found = judge(classifier(), "compiled bf16", logits, other, targets)
    assert found.problem == "its answers are not finite numbers"
    assert Decisions.model_validate_json(found.model_dump_json()) == found, "it can be kept"


@pytest.mark.parametrize(
    ("task", "judged"),
    [
        ("image-classification", True),
        ("tabular-regression", True),
        ("regression", True),
        ("feature-extraction", False),
        ("text-generation", False),
        ("time-series-forecasting", False),
    ],
)
def test_tasks_with_a_class_or_a_number_are_judged(task: str, judged: bool) -> None:
    assert decides(card("any", task=task)) is judged


def test_decisions_sentence_has_the_figures() -> None:
    logits, targets = answers(200)
    found = judge(classifier(), "compiled bf16", logits, flipped(logits, 1), targets)
    assert found.sentence() == (
        "1 of 200 held-out decisions differ from fp32 (0.1% to 2.8%); accuracy 0.995 (fp32: 1, change -0.015 to +0)"
    )

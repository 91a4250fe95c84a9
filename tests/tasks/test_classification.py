"""Labels are sorted by probability, and options bound them."""

from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.catalog import Catalog
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.image.image_input import ImageInput
from service.types import Classification, Item, Options

CARD = Catalog.from_package().get("efficientnet_lite0")
PATH = "instances[0]"


@pytest.fixture
def task() -> ComposedTask:
    return ComposedTask(ImageInput, LabelAnswers, CARD, [f"class {i}" for i in range(1000)])


def answer(task: ComposedTask, logits: Any, **options: Any) -> Classification:
    result = task.postprocess({"logits": np.asarray(logits, np.float32)}, Item({}), Options(**options))
    assert isinstance(result, Classification)
    return result


def logits(**best: float) -> np.ndarray[Any, Any]:
    values = np.zeros(1000, np.float32)
    for name, value in best.items():
        values[int(name[1:])] = value
    return values


def test_labels_are_sorted_by_probability(task: ComposedTask) -> None:
    given_logits = logits(_7=5, _3=9, _900=7)
    labels = answer(task, given_logits, top_k=3).labels
    assert [(label.index, label.name) for label in labels] == [(3, "class 3"), (900, "class 900"), (7, "class 7")]
    expected = torch.softmax(torch.from_numpy(given_logits), 0)
    assert [label.score for label in labels] == pytest.approx([float(expected[i]) for i in (3, 900, 7)], rel=1e-5)


def test_labels_that_do_not_exclude_each_other_are_decided_alone() -> None:
    card = CARD.model_copy(update={"activation": "sigmoid"})
    task = ComposedTask(ImageInput, LabelAnswers, card, ["a", "b", "c"])
    given = np.array([800.0, -2.0, -800.0], np.float32)
    labels = answer(task, given).labels
    assert [label.name for label in labels] == ["a", "b", "c"]
    assert [label.score for label in labels] == pytest.approx(torch.sigmoid(torch.from_numpy(given)).tolist(), abs=1e-7)
    assert [label.name for label in answer(task, given, threshold=0.5).labels] == ["a"]
    assert [label.name for label in answer(task, given, top_k=1).labels] == ["a"]


def test_labels_default_to_five(task: ComposedTask) -> None:
    assert len(answer(task, logits()).labels) == 5
    assert len(answer(task, logits(), top_k=1).labels) == 1


def test_top_k_beyond_the_classes_gives_all_labels(task: ComposedTask) -> None:
    labels = answer(task, np.random.default_rng(0).standard_normal(1000), top_k=2**31 - 1).labels
    assert len(labels) == 1000
    scores = [label.score for label in labels]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)


def test_labels_below_the_threshold_are_left_out(task: ComposedTask) -> None:
    given_logits = logits(_1=12, _2=11)
    assert [label.index for label in answer(task, given_logits, threshold=0.1).labels] == [1, 2]
    assert [label.index for label in answer(task, given_logits, threshold=0.5).labels] == [1]
    assert answer(task, logits(), threshold=0.5).labels == ()
    assert len(answer(task, logits(), threshold=0.0).labels) == 5


def test_huge_logits_do_not_overflow(task: ComposedTask) -> None:
    (label,) = answer(task, logits(_5=1e30), top_k=1).labels
    assert (label.index, label.score) == (5, 1.0)


def test_golden_check_accepts_any_of_the_equivalent_labels(task: ComposedTask) -> None:
    expect = next(case.expect for case in CARD.golden if case.expect.or_labels)  # type: ignore[union-attr]
    named = ComposedTask(ImageInput, LabelAnswers, CARD, [expect.label, *expect.or_labels, *["goldfish"] * 5])  # type: ignore[union-attr]
    for i in range(3):
        values = np.zeros(8)
        values[i] = 9
        assert named.golden_problem(expect, answer(named, values), {}) is None
        faint = values * 0.01
        assert "expected 'tiger cat'" in str(named.golden_problem(expect, answer(named, faint), {}))
    assert "got 'goldfish'" in str(named.golden_problem(expect, answer(named, [0, 0, 0, 9, 0, 0, 0, 0]), {}))

"""The order of a detector's queries, and its unlikely ones, do not count when outputs are compared."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.cards.box_rule import BoxRule
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.types import Tensors
from service.verification.probes import closeness, closeness_problem

BASE = Catalog.from_package().get("efficientnet_lite0")
OUTPUTS = [
    {"name": "logits", "datatype": "FP32", "shape": (-1, 6, 3)},
    {"name": "pred_boxes", "datatype": "FP32", "shape": (-1, 6, 4)},
]


def detector(scores: str) -> Card:
    signature = BASE.signature.model_validate({**BASE.signature.model_dump(), "outputs": OUTPUTS})
    rule = BoxRule.model_validate({"scores": scores})
    return BASE.model_copy(update={"task": "object-detection", "boxes": rule, "signature": signature})


def row(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(6, 3)).astype(np.float32)
    logits[4:] = -9.0  # unlikely by sigmoid
    logits[4:, 2] = 9.0  # unlikely by softmax, as the class of no object is last
    return {"logits": logits, "pred_boxes": random.uniform(size=(6, 4)).astype(np.float32)}


def reordered(given: Tensors, order: list[int]) -> dict[str, np.ndarray]:
    return {name: array[order] for name, array in given.items()}


def problem(card: Card, mine: Tensors, reference: Tensors) -> str | None:
    return closeness_problem(card, "fp32", closeness(card, [(0, mine)], [reference]))


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_queries_in_another_order_are_equal(scores: str) -> None:
    assert problem(detector(scores), reordered(row(), [3, 1, 0, 2, 5, 4]), row()) is None


def test_unlikely_query_may_differ() -> None:
    other = row()
    other["pred_boxes"][5] = 0.0
    assert problem(detector("softmax"), other, row()) is None


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_likely_query_that_differs_is_found_on_either_side(scores: str) -> None:
    other = row()
    other["pred_boxes"][0] += 0.3
    found = problem(detector(scores), other, row())
    assert found is not None
    assert "differ by" in found
    assert problem(detector(scores), row(), other) is not None


def test_answer_that_is_not_finite_is_a_problem() -> None:
    other = row()
    other["logits"][1, 1] = np.nan
    assert problem(detector("softmax"), other, row()) is not None

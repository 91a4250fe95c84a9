"""Embeddings, logits and the rule of probabilities are compared, each with its own exactness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from service.references.comparison.compared import ComparedAnswers, Unlike
from service.references.comparison.labelled_images import LABELLED_IMAGES
from service.references.comparison.vectors import softmax
from service.types import Item

IMAGE, TEXTS = np.array([0.6, 0.8]), np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
LOGITS = 10 * TEXTS @ IMAGE


class CardOf:
    """What the comparison reads of a card."""

    def __init__(self, activation: str) -> None:
        self.activation = activation
        self.signature = cast(Any, type("S", (), {"outputs": [type("O", (), {"name": "logits"})]}))


def compared(activation: str = "softmax", row: dict[str, Any] | None = None, **changes: Any) -> ComparedAnswers:
    rule = softmax if activation == "softmax" else lambda x: 1 / (1 + np.exp(-x))
    theirs = {
        "probabilities": rule(LOGITS).tolist(),
        "logits": LOGITS.tolist(),
        "scale": 10.0,
        "image_embeds": IMAGE.tolist(),
        "text_embeds": TEXTS.tolist(),
    }
    mine = {"logits": LOGITS, "image_embeds": IMAGE, "text_embeds": TEXTS}
    item = Item({}, 3, labels=("a", "b", "c"))
    return ComparedAnswers(
        cast(Any, CardOf(activation)), cast(Any, None), item, {**mine, **(row or {})}, {**theirs, **changes}
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_equal_answers_do_not_differ(activation: str) -> None:
    assert LABELLED_IMAGES.difference(compared(activation)) == pytest.approx(0)


def test_image_may_differ_by_grey_levels_and_texts_may_not() -> None:
    bound = LABELLED_IMAGES.bound
    assert LABELLED_IMAGES.difference(compared(row={"image_embeds": IMAGE + 0.015})) <= bound
    assert LABELLED_IMAGES.difference(compared(row={"image_embeds": IMAGE + 0.03})) > bound
    assert LABELLED_IMAGES.difference(compared(row={"text_embeds": TEXTS + 0.0005})) <= bound
    assert LABELLED_IMAGES.difference(compared(row={"text_embeds": TEXTS + 0.002})) > bound


def test_another_factor_or_offset_of_logits_or_another_rule_differs() -> None:
    bound = LABELLED_IMAGES.bound
    assert LABELLED_IMAGES.difference(compared(row={"logits": LOGITS / 10})) > bound
    assert LABELLED_IMAGES.difference(compared(row={"logits": LOGITS - 1})) > bound
    assert LABELLED_IMAGES.difference(replace(compared(), card=cast(Any, CardOf("sigmoid")))) > bound


def test_another_number_of_labels_has_no_difference() -> None:
    with pytest.raises(Unlike):
        LABELLED_IMAGES.difference(compared(text_embeds=TEXTS[:2].tolist()))


def test_golden_case_expects_the_best_label_and_those_beside_it_also_where_all_are_unlikely() -> None:
    expect: Any = LABELLED_IMAGES.expectation(compared())
    assert (expect.label, expect.or_labels) == ("c", ())
    small: Any = LABELLED_IMAGES.expectation(compared("sigmoid", row={"logits": LOGITS - 40}))
    assert (small.label, small.or_labels) == ("c", ())
    assert 0 < small.min_score < 1e-10
    near: Any = LABELLED_IMAGES.expectation(compared(row={"logits": np.array([1.0, 1.001, 0.0])}))
    assert (near.label, near.or_labels) == ("b", ("a",))

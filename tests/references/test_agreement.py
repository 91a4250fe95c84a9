"""A network is taken only where Zoo's answers are those of its makers' library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.errors import NotEqual
from model_zoo.golden.golden_case import ClassificationExpectation, EmbeddingExpectation, GoldenInput
from service.references.agreement import agreed
from service.references.comparison.vectors import IMAGE_BOUND, TEXT_BOUND, softmax
from service.tasks.base import Task
from service.types import Item, Tensors

IMAGE = (
    Catalog.from_package()
    .get("efficientnet_lite0")
    .model_copy(update={"class_names": ("cat", "cup", "cup"), "reference": "hf:org/name", "golden": ()})
)
TEXT = Catalog.from_package().get("all_minilm_l6_v2").model_copy(update={"reference": "hf:org/name", "golden": ()})
PHOTO, SENTENCE = GoldenInput(file="cat.jpg"), GoldenInput(text="A sentence.")
LOGITS = np.array([2.0, 1.0, -1.0], np.float32)


def agreement(card: Card, inputs: list[GoldenInput], ours: Sequence[Tensors], theirs: Sequence[Any]) -> Card:
    task = cast(Task, SimpleNamespace(card=card))  # these comparisons read nothing else of it
    return agreed(task, "hf:org/name", "timm 1.0", inputs, [Item({})] * len(inputs), ours, theirs)


def test_equal_answers_become_golden_cases_and_a_verification() -> None:
    card = agreement(IMAGE, [PHOTO], [{"logits": LOGITS}], [softmax(LOGITS.astype(float)).tolist()])
    assert card.verification is not None
    assert (card.verification.library, card.verification.inputs, card.verification.bound) == (
        "timm 1.0",
        1,
        IMAGE_BOUND,
    )
    expect = card.golden[0].expect
    assert isinstance(expect, ClassificationExpectation)
    assert expect.label == "cat"
    assert expect.min_score < softmax(LOGITS.astype(float))[0]


@pytest.mark.parametrize("excess", [1.5, -1.5])
def test_difference_above_the_bound_is_refused_with_the_figures(excess: float) -> None:
    theirs = softmax(LOGITS.astype(float))
    theirs[0] += excess * IMAGE_BOUND
    with pytest.raises(NotEqual) as raised:
        agreement(IMAGE, [PHOTO], [{"logits": LOGITS}], [theirs.tolist()])
    assert "cat.jpg" in str(raised.value)
    assert "0.03" in str(raised.value)
    assert f"{IMAGE_BOUND:g}" in str(raised.value)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NotEqual):
        agreement(
            IMAGE,
            [PHOTO],
            [{"logits": np.full(3, math.nan, np.float32)}],
            [[0.5, 0.25, 0.25]],
        )


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(NotEqual, match="2 values, and Zoo 3"):
        agreement(IMAGE, [PHOTO], [{"logits": LOGITS}], [[0.5, 0.5]])


def test_classes_that_are_nearly_first_count_as_right() -> None:
    close = np.array([1.0, 1.0 + 1e-4, -5.0], np.float32)
    expect = agreement(IMAGE, [PHOTO], [{"logits": close}], [softmax(close.astype(float)).tolist()]).golden[0].expect
    assert isinstance(expect, ClassificationExpectation)
    assert {expect.label, *expect.or_labels} == {"cat", "cup"}


def test_embeddings_are_compared_at_length_one() -> None:
    vector = np.linspace(-3.0, 5.0, 384).astype(np.float32)
    card = agreement(TEXT, [SENTENCE], [{"embedding": vector}], [(7.0 * vector).tolist()])
    expect = card.golden[0].expect
    assert isinstance(expect, EmbeddingExpectation)
    assert expect.values[0] == pytest.approx(-3.0)
    other = vector.copy()
    other[0] += 1.0
    with pytest.raises(NotEqual, match=f"allowed is {TEXT_BOUND:g}"):
        agreement(TEXT, [SENTENCE], [{"embedding": vector}], [other.tolist()])


def test_long_text_is_compared_but_is_no_golden_case() -> None:
    vector = np.ones(384, np.float32)
    long = GoldenInput(text="word " * 500)
    card = agreement(TEXT, [long, SENTENCE], [{"embedding": vector}] * 2, [vector.tolist()] * 2)
    assert card.verification is not None
    assert card.verification.inputs == 2
    assert [case.input for case in card.golden] == [SENTENCE]

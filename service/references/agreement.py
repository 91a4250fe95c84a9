"""Zoo's answers beside those of the makers' library, and the golden cases that follow from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card, Verification
from model_zoo.errors import NotEqual
from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    EmbeddingExpectation,
    Expectation,
    GoldenCase,
    GoldenInput,
)
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Item, Tensors

Vector = NDArray[np.float64]

IMAGE_BOUND, TEXT_BOUND = 0.02, 0.001
"""Greatest difference of a probability, or of a value of an embedding of length 1. Images are decoded and resized by other code,
which moves pixels by a grey level; texts are the same tokens."""

CLOSE = 0.02
"""Classes whose probabilities are this near the first one's count as right: in few bits they may change places."""
SHARE_OF_SCORE = 0.8
"""A golden case demands this share of the probability that was seen."""
GOLDEN_VALUES = 8
"""Values of an embedding that a golden case holds."""
GOLDEN_TOLERANCE = 0.01
"""Of these values, as a share of the embedding's largest one."""
LONGEST_GOLDEN_TEXT = 200
"""Characters; a card is read by people."""
OUTPUT_TOLERANCE = 2e-4
"""`max_abs_error` of the card, as a share of the largest output that was seen."""


def zoo_items(task: Task, inputs: Sequence[GoldenInput], shown: str) -> list[Item]:
    """The inputs, preprocessed. `shown`: the reference, for messages. Raises NotEqual where Zoo refuses an input."""
    items = []
    for one in inputs:
        (item,) = task.preprocess([task.golden_instance(one)], ["input"])
        if not isinstance(item, Item):
            raise NotEqual(shown, f"Zoo refuses {_shown(one)}: {item}")
        items.append(item)
    return items


def agreed(
    card: Card,
    shown: str,
    library: str,
    inputs: Sequence[GoldenInput],
    ours: Sequence[Tensors],
    theirs: Sequence[Sequence[float]],
) -> Card:
    """The card with its verification, golden cases and tolerance.

    Raises NotEqual with the figures, where an answer of ours differs from the library's by more than the bound.
    """
    bound = IMAGE_BOUND if card.raw_input == "image" else TEXT_BOUND
    output = card.signature.outputs[0].name
    classes = output == "logits"
    worst, cases = 0.0, []
    for one, row, answer in zip(inputs, ours, theirs, strict=True):
        values = np.asarray(row[output], np.float64).ravel()
        mine, other = (softmax(values) if classes else values), np.asarray(answer, np.float64)
        if mine.shape != other.shape:
            raise NotEqual(shown, f"for {_shown(one)} it gives {other.size:,} values, and Zoo {mine.size:,}")
        difference = float(np.abs(mine - other).max() if classes else np.abs(_unit(mine) - _unit(other)).max())
        if not difference <= bound:
            got, most = format_against(difference, bound)
            raise NotEqual(shown, f"for {_shown(one)} by up to {got}; allowed is {most}")
        worst = max(worst, difference)
        if len(one.text or "") <= LONGEST_GOLDEN_TEXT:
            cases.append(GoldenCase(input=one, expect=_expectation(card, mine, classes)))
    largest = max(float(np.abs(row[output]).max()) for row in ours)
    return card.model_copy(
        update={
            "golden": tuple(cases),
            "verification": Verification(library=library, inputs=len(inputs), max_difference=worst, bound=bound),
            "tolerance": card.tolerance.model_copy(update={"max_abs_error": max(OUTPUT_TOLERANCE * largest, 1e-6)}),
        }
    )


def softmax(logits: Vector) -> Vector:
    """`[classes]` → probabilities."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def _expectation(card: Card, values: Vector, classes: bool) -> Expectation:
    if not classes:
        first = tuple(round(float(value), 6) for value in values[:GOLDEN_VALUES])
        return EmbeddingExpectation(values=first, tolerance=max(GOLDEN_TOLERANCE * float(np.abs(values).max()), 1e-6))
    return class_expectation(card, values)


def class_expectation(card: Card, values: Vector) -> ClassificationExpectation:
    """The class of these probabilities, as a golden case expects it."""
    best = float(values.max())
    # Uneven classes of one name count as one: an answer names classes, not numbers.
    names = [card.class_names[index] for index in np.argsort(-values) if values[index] >= best - CLOSE]
    others = tuple(dict.fromkeys(name for name in names[1:] if name != names[0]))
    least = max(round(SHARE_OF_SCORE * (best - CLOSE), 4), 1e-6)
    return ClassificationExpectation(label=names[0], or_labels=others, min_score=least)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _shown(one: GoldenInput) -> str:
    if one.file is not None:
        return f"the photo {one.file}"
    text = one.text or ""
    return f"the text {text[:40]!r}" + (f" … of {len(text):,} characters" if len(text) > 40 else "")

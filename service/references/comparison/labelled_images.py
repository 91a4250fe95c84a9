"""Answers for an image and labels: the embeddings of both, the logits, and the probabilities that follow from these.

Probabilities of Zoo and of the library are not compared with each other. Where a network is undecided, a pixel that differs by a
grey level moves them further than a wrong text would. So each step is compared: a probability follows from logits by one rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_zoo.architectures.image_text import IMAGES, TEXTS
from model_zoo.golden.golden_case import ClassificationExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers
from service.references.comparison.vectors import (
    CLOSE,
    IMAGE_BOUND,
    SHARE_OF_SCORE,
    TEXT_BOUND,
    Vector,
    both,
    scores,
    softmax,
)
from service.tasks.classification import sigmoid

SHARE_OF_SMALL_SCORE = 0.1
"""`SHARE_OF_SCORE` where the probability is nearly 0: rounding changes its exponent."""


def _difference(compared: ComparedAnswers) -> float:
    """Of a value of the image's embedding, or of a cosine. Texts are the same tokens, so that what depends on them alone counts
    more."""
    row, theirs, exact = compared.row, compared.answer, IMAGE_BOUND / TEXT_BOUND
    rule = sigmoid if compared.card.activation == "sigmoid" else softmax
    logits = _flat(theirs["logits"])
    return max(
        _apart(_flat(row[IMAGES]), theirs["image_embeds"]),
        _apart(_flat(row["logits"]), logits) / float(theirs["scale"]),
        _apart(_flat(row[TEXTS]), _flat(theirs["text_embeds"])) * exact,
        _apart(rule(logits), theirs["probabilities"]) * exact,
    )


def _apart(mine: Vector, other: Any) -> float:
    """The greatest difference. Raises Unlike for another number of values."""
    first, second = both(mine, other)
    return float(np.abs(first - second).max())


def _flat(values: Any) -> Vector:
    return np.asarray(values, np.float64).ravel()


def _expectation(compared: ComparedAnswers) -> ClassificationExpectation:
    """The first label, and those that are nearly as probable."""
    values, labels = scores(compared), compared.item.labels
    order = np.argsort(-values, kind="stable")
    best = float(values[order[0]])
    others = tuple(labels[i] for i in order[1:] if values[i] >= best - min(CLOSE, best / 2))
    least = round(SHARE_OF_SCORE * (best - CLOSE), 4)
    return ClassificationExpectation(
        label=labels[order[0]], or_labels=others, min_score=least if least > 0 else SHARE_OF_SMALL_SCORE * best
    )


LABELLED_IMAGES = AnswerComparison(IMAGE_BOUND, _difference, _expectation)

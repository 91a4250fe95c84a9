"""Answers that are one vector: logits of classes, compared as probabilities, and embeddings, compared at length 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.golden.golden_case import ClassificationExpectation, EmbeddingExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.tasks.classification import sigmoid

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


def classes(bound: float) -> AnswerComparison:
    """Probabilities of classes."""
    return AnswerComparison(bound, _class_difference, class_expectation)


def embeddings(bound: float) -> AnswerComparison:
    """Embeddings at length 1."""
    return AnswerComparison(bound, _embedding_difference, _embedding_expectation)


def scores(compared: ComparedAnswers) -> Vector:
    """The probabilities of the classes, as the card makes them of the logits."""
    logits = output(compared)
    return sigmoid(logits) if compared.card.activation == "sigmoid" else softmax(logits)


def softmax(logits: Vector) -> Vector:
    """`[classes]` → probabilities."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def output(compared: ComparedAnswers) -> Vector:
    """The network's first output, flat."""
    return np.asarray(compared.row[compared.card.signature.outputs[0].name], np.float64).ravel()


def both(mine: Vector, answer: object) -> tuple[Vector, Vector]:
    """Zoo's vector and the library's. Raises Unlike for another number of values."""
    other = np.asarray(answer, np.float64)
    if mine.shape != other.shape:
        raise Unlike(f"it gives {other.size:,} values, and Zoo {mine.size:,}")
    return mine, other


def class_expectation(compared: ComparedAnswers) -> ClassificationExpectation:
    """The first class, and those that are nearly as probable."""
    values = scores(compared)
    best = float(values.max())
    # Uneven classes of one name count as one: an answer names classes, not numbers.
    names = [compared.card.class_names[index] for index in np.argsort(-values) if values[index] >= best - CLOSE]
    others = tuple(dict.fromkeys(name for name in names[1:] if name != names[0]))
    least = max(round(SHARE_OF_SCORE * (best - CLOSE), 4), 1e-6)
    return ClassificationExpectation(label=names[0], or_labels=others, min_score=least)


def _class_difference(compared: ComparedAnswers) -> float:
    mine, other = both(scores(compared), compared.answer)
    return float(np.abs(mine - other).max())


def _embedding_difference(compared: ComparedAnswers) -> float:
    mine, other = both(output(compared), compared.answer)
    return float(np.abs(_unit(mine) - _unit(other)).max())


def _embedding_expectation(compared: ComparedAnswers) -> EmbeddingExpectation:
    values = output(compared)
    first = tuple(round(float(value), 6) for value in values[:GOLDEN_VALUES])
    return EmbeddingExpectation(values=first, tolerance=max(GOLDEN_TOLERANCE * float(np.abs(values).max()), 1e-6))


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))

"""Answers of classification tasks: logits → the best labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import ClassificationExpectation, Expectation
from service.rounding import format_against
from service.types import Answer, Array, Classification, Item, Label, Options, Tensors

DEFAULT_TOP_K = 5


class LabelAnswers:
    """Labels, best first (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k", "threshold"})
    light_rows: ClassVar[int] = 2  # 0.04 ms each for a thousand classes

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._output = card.signature.outputs[0].name
        self._independent = card.activation == "sigmoid"

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Classification:
        """`[classes]` logits → labels with their probabilities, best first: by softmax, or by sigmoid where each class is decided
        alone."""
        return best_labels(row[self._output], self._labels, options, self._independent)

    def probability(self, row: Tensors, index: int) -> float:
        """Of a class, from a row of logits."""
        return float(_probabilities(row[self._output], self._independent)[index])

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A wrong first label, or a probability that is too small."""
        assert isinstance(expect, ClassificationExpectation)
        assert isinstance(answer, Classification)
        best = answer.labels[0]
        if best.name in (expect.label, *expect.or_labels) and best.score >= expect.min_score:
            return None
        got, least = format_against(best.score, expect.min_score, ".3f", "g")
        return f"expected {expect.label!r} with at least {least}, got {best.name!r} with {got}"


def best_labels(logits: Array, labels: Sequence[str], options: Options, independent: bool = False) -> Classification:
    """`[classes]` logits → labels with their probabilities, best first. A class without a name is called by its number.

    `independent`: whether each class is decided alone, so that the probabilities do not add up to 1.
    """
    scores = _probabilities(logits, independent)
    count = min(options.top_k or DEFAULT_TOP_K, len(scores))
    best = np.argpartition(-scores, count - 1)[:count]
    best = best[np.argsort(-scores[best], kind="stable")]
    least = options.threshold or 0.0
    names = [labels[i] if i < len(labels) else str(i) for i in best]
    pairs = zip(best.tolist(), names, strict=True)
    return Classification(tuple(Label(i, name, float(scores[i])) for i, name in pairs if not scores[i] < least))


def _probabilities(logits: Array, independent: bool) -> NDArray[np.float64]:
    x = np.asarray(logits, np.float64)
    if independent:
        return sigmoid(x)
    scores: NDArray[np.float64] = np.exp(x - x.max())
    scores /= scores.sum()
    return scores


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits → probabilities of each class alone."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))

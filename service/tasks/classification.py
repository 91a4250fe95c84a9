"""The answer of every classification: logits → the best labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    Expectation,
)
from service.rounding import (
    format_against,
)
from service.tasks.answers import best_labels
from service.tasks.base import Task
from service.types import Answer, Classification, Item, Options, Tensors


class Classifying(Task):
    """Gives labels, best first."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k", "threshold"})
    light_rows: ClassVar[int] = 2  # 0.04 ms each for a thousand classes

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """`[classes]` logits → labels with softmax probabilities, best first."""
        return best_labels(row[self.card.signature.outputs[0].name], self.labels, options)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Wrong first label, or too small a probability."""
        assert isinstance(expect, ClassificationExpectation)
        assert isinstance(answer, Classification)
        best = answer.labels[0]
        if best.name in (expect.label, *expect.or_labels) and best.score >= expect.min_score:
            return None
        came, least = format_against(best.score, expect.min_score, ".3f", "g")
        return f"expected {expect.label!r} with at least {least}, got {best.name!r} with {came}"

"""Scores of pairs of texts."""

from __future__ import annotations

from model_zoo.golden.golden_case import ScoreExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers
from service.references.comparison.vectors import TEXT_BOUND, output

TOLERANCE = {"sigmoid": 0.05, "identity": 0.25}
"""Of a golden case, by the activation of the scores: other devices and precisions round."""


def _difference(compared: ComparedAnswers) -> float:
    return abs(float(output(compared)[0]) - float(compared.answer))


def _expectation(compared: ComparedAnswers) -> ScoreExpectation:
    return ScoreExpectation(
        score=round(float(output(compared)[0]), 6), tolerance=TOLERANCE.get(compared.card.activation, 0.05)
    )


RELEVANCE = AnswerComparison(TEXT_BOUND, _difference, _expectation)

"""Answers that are written token by token: the same tokens and the same text; the difference is that of a token's probability."""

from __future__ import annotations

import numpy as np

from model_zoo.golden.golden_case import WrittenExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.types import GeneratedText, Options

SHOWN = 8
"""Tokens that a message shows."""


def writing(bound: float) -> AnswerComparison:
    """Generated texts."""
    return AnswerComparison(bound, _difference, _expectation)


def _difference(compared: ComparedAnswers) -> float:
    other = compared.answer
    mine, ids = np.asarray(compared.row["output_ids"], np.int64).tolist(), list(other["ids"])
    if mine != ids:
        raise Unlike(f"it writes the tokens {ids[:SHOWN]}, and Zoo {mine[:SHOWN]}")
    text = _text(compared)
    if text != other["text"]:
        raise Unlike(f"it writes {other['text'][:80]!r}, and Zoo {text[:80]!r}")
    probabilities = np.asarray(compared.row["probabilities"], np.float64)
    return float(np.abs(probabilities - np.asarray(other["probabilities"])).max(initial=0.0))


def _expectation(compared: ComparedAnswers) -> WrittenExpectation:
    return WrittenExpectation(written=_text(compared))


def _text(compared: ComparedAnswers) -> str:
    answer = compared.task.postprocess(compared.row, compared.item, Options())
    assert isinstance(answer, GeneratedText)
    return answer.text

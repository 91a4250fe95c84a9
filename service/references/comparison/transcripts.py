"""Transcripts of sounds: the same text; the difference is that of the probability of a frame's likeliest token."""

from __future__ import annotations

import numpy as np

from model_zoo.golden.golden_case import WrittenExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.types import Options, Transcript


def transcripts(bound: float) -> AnswerComparison:
    """Transcripts."""
    return AnswerComparison(bound, _difference, _expectation)


def _difference(compared: ComparedAnswers) -> float:
    other = compared.answer
    text, theirs = _text(compared), np.asarray(other["probabilities"], np.float64)
    if text != other["text"]:
        raise Unlike(f"it writes {other['text'][:80]!r}, and Zoo {text[:80]!r}")
    logits = np.asarray(compared.row["logits"], np.float64)
    best = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    if best.shape != theirs.shape:
        raise Unlike(f"it has {len(theirs):,} frames, and Zoo {len(best):,}")
    return float(np.abs(best - theirs).max(initial=0.0))


def _expectation(compared: ComparedAnswers) -> WrittenExpectation:
    return WrittenExpectation(written=_text(compared))


def _text(compared: ComparedAnswers) -> str:
    answer = compared.task.postprocess(compared.row, compared.item, Options())
    assert isinstance(answer, Transcript)
    return answer.text

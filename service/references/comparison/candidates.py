"""Candidates for the masks of a text: the probabilities in order, the likeliest tokens, and their texts."""

from __future__ import annotations

from typing import Any

from model_zoo.golden.golden_case import TokensExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.references.comparison.vectors import CLOSE, TEXT_BOUND
from service.types import FilledMasks, Options

COMPARED = 10
"""Candidates for each mask that both give."""


def _difference(compared: ComparedAnswers) -> float:
    """Of a probability of a token. Tokens whose probabilities are nearly equal may have changed places."""
    theirs, ours = compared.answer, _answer(compared).masks
    if len(theirs) != len(ours):
        raise Unlike(f"it finds {len(theirs)} masks, and Zoo {len(ours)}")
    worst = 0.0
    for their_mask, our_mask in zip(theirs, ours, strict=True):
        known = {one["token"]: one for one in their_mask}
        last = min(one["score"] for one in their_mask)
        for mine in our_mask:
            other = known.get(mine.token_id)
            worst = max(worst, abs(mine.score - (last if other is None else other["score"])))
            if other is not None and (other["token_str"], other["sequence"]) != (mine.token, mine.sequence):
                raise Unlike(f"it writes {_written(other)}, and Zoo {(mine.token, mine.sequence)!r:.200}")
    return worst


def _expectation(compared: ComparedAnswers) -> TokensExpectation:
    return TokensExpectation(
        masks=tuple(
            tuple(one.token_id for one in mask if one.score >= mask[0].score - CLOSE)
            for mask in _answer(compared).masks
        )
    )


def _answer(compared: ComparedAnswers) -> FilledMasks:
    answer = compared.task.postprocess(compared.row, compared.item, Options(top_k=COMPARED))
    assert isinstance(answer, FilledMasks)
    return answer


def _written(candidate: dict[str, Any]) -> str:
    return f"{(candidate['token_str'], candidate['sequence'])!r:.200}"


CANDIDATES = AnswerComparison(TEXT_BOUND, _difference, _expectation)

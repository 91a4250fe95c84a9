"""Labelled spans of texts: the probabilities of all tokens, and the spans that follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.golden.golden_case import EntitiesExpectation, ExpectedEntity
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.references.comparison.vectors import TEXT_BOUND
from service.tasks.text.token_classification import SpannedItem
from service.types import Entities, Options

DECIDED = 0.1
"""Least distance of a token's first probability to its second: rounding does not change its label."""


def _difference(compared: ComparedAnswers) -> float:
    """Of a probability of a token."""
    mine, answer = _probabilities(compared), compared.answer
    other = np.asarray(answer["probabilities"], np.float64)
    if mine.shape != other.shape:
        raise Unlike(f"it gives {_shape(other)} values, and Zoo {_shape(mine)}")
    theirs = [(one["entity_group"], one["start"], one["end"]) for one in answer["entities"]]
    ours = [(one.label, one.start, one.end) for one in _entities(compared).entities]
    if theirs != ours and np.abs(mine - other).max() <= TEXT_BOUND:
        raise Unlike(f"it finds other spans: {theirs[:4]} where Zoo finds {ours[:4]}")
    return float(np.abs(mine - other).max())


def _expectation(compared: ComparedAnswers) -> EntitiesExpectation:
    probabilities, item = _probabilities(compared), compared.item
    assert isinstance(item, SpannedItem)
    ordered = np.sort(probabilities, axis=-1)
    sure = ordered[:, -1] - ordered[:, -2] >= DECIDED
    decided = item.spans[sure & ~item.added].tolist()
    return EntitiesExpectation(
        entities=tuple(
            ExpectedEntity(label=one.label, start=one.start, end=one.end)
            for one in _entities(compared).entities
            if one.end > one.start and any(start < one.end and one.start < end for start, end in decided)
        )
    )


def _entities(compared: ComparedAnswers) -> Entities:
    answer = compared.task.postprocess(compared.row, compared.item, Options())
    assert isinstance(answer, Entities)
    return answer


def _probabilities(compared: ComparedAnswers) -> NDArray[np.float64]:
    logits = np.asarray(compared.row[compared.card.signature.outputs[0].name], np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _shape(array: NDArray[Any]) -> str:
    return " × ".join(f"{size:,}" for size in array.shape)


SPANS = AnswerComparison(TEXT_BOUND, _difference, _expectation)

"""Outputs of detectors, brought into the same order before they are compared.

A detector that chooses its queries by score may give two nearly equal ones in another order, or another unlikely one at the end,
where rounding differs by the last bit. Neither changes the objects that it finds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.box_rule import BoxRule
from model_zoo.cards.card import Card
from service.types import Tensors

LIKELY_SCORE = 0.1
"""Queries with at least this score are compared, and the best ones in any case."""
BEST = 3


def in_one_order(card: Card, row: Tensors, reference: Tensors) -> tuple[Tensors, Tensors]:
    """Two rows of outputs, ready to be compared number by number.

    Of a detector: each likely query of one row beside the query of the other that is most like it. Other rows stay as they are.
    """
    if card.boxes is None:
        return row, reference
    names = [spec.name for spec in card.signature.outputs[:2]]
    mine, other = ([np.asarray(one[name], np.float64) for name in names] for one in (row, reference))
    shapes = [array.shape for array in mine]
    if shapes != [array.shape for array in other] or not all(np.isfinite(array).all() for array in (*mine, *other)):
        return row, reference
    rule = card.boxes
    a, b = ((_probabilities(logits, rule), boxes) for logits, boxes in (mine, other))
    likely_a, likely_b = _likely(a[0]), _likely(b[0])
    left = np.concatenate([_nearest(b, a, likely_b), likely_a])
    right = np.concatenate([likely_b, _nearest(a, b, likely_a)])
    return (
        {name: array[left] for name, array in zip(names, mine, strict=True)},
        {name: array[right] for name, array in zip(names, other, strict=True)},
    )


Described = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities `[queries, classes]` and boxes `[queries, 4]`."""


def _probabilities(logits: NDArray[np.float64], rule: BoxRule) -> NDArray[np.float64]:
    """`[queries, classes]`, without the class that stands for no object."""
    if rule.scores == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers[:, :-1] / powers.sum(axis=1, keepdims=True))


def _likely(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    scores = probabilities.max(axis=1)
    return np.argsort(-scores, kind="stable")[: max(BEST, int((scores >= LIKELY_SCORE).sum()))]


def _nearest(wanted: Described, among: Described, queries: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of these queries of `wanted`, the query of `among` that is most like it."""
    found = []
    for query in queries:
        by_class = np.abs(among[0] - wanted[0][query]).max(axis=1)
        found.append(int(np.maximum(by_class, np.abs(among[1] - wanted[1][query]).max(axis=1)).argmin()))
    return np.array(found, np.intp)

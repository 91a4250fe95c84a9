"""Splits the outputs of a batch among the backbone's own rows and those of heads on it; each row gets its own answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.signature import FEATURES
from service.errors import InternalError, ZooError
from service.observability.log import logger
from service.tasks.base import Task
from service.types import Item, RunsOnFeatures, Tensors

log = logger(__name__)

RowOutputs = list[Tensors | ZooError]


def split_outputs(task: Task, outputs: Tensors, items: Sequence[Item]) -> RowOutputs:
    """A batch's outputs → one row for each item: of the network's own outputs, or of what the item's head makes of the features.

    A head that fails takes down its own rows alone. Called in a lane.
    """
    if all(item.head is None for item in items):
        return [*task.split(outputs, items)]
    features = features_of(task.card, outputs, len(items))
    by_head: dict[RunsOnFeatures | None, list[int]] = {}
    for i, item in enumerate(items):
        by_head.setdefault(item.head, []).append(i)
    rows: dict[int, Tensors | ZooError] = {}
    for head, indices in by_head.items():
        if head is None:
            own = task.split(outputs, items)
            rows |= {i: own[i] for i in indices}
        else:
            rows |= zip(indices, _run_head(head, features[indices], [items[i] for i in indices]), strict=True)
    return [rows[i] for i in range(len(items))]


def features_of(card: Card, outputs: Tensors, count: int) -> NDArray[np.float32]:
    """The features of a batch, `[rows, width]`. Raises RuntimeError for a network that has none."""
    features = outputs.get(FEATURES)
    if features is None:
        features = outputs[card.signature.outputs[0].name]
    if features.ndim != 2 or len(features) != count:
        raise RuntimeError(f"the network's features have shape {features.shape} for {count} items")
    return np.asarray(features, np.float32)


def _run_head(head: RunsOnFeatures, features: NDArray[np.float32], items: Sequence[Item]) -> RowOutputs:
    try:
        outputs = head.run(features, items)
        if any(len(array) != len(items) for array in outputs.values()):
            raise RuntimeError("a head lost rows")
        return [{name: array[i] for name, array in outputs.items()} for i in range(len(items))]
    except Exception:  # an error of one head must not fail the other rows of the batch
        reference = uuid.uuid4().hex[:12]
        log.exception("a head failed", head=head.name, reference=reference)
        return [InternalError(reference) for _ in items]

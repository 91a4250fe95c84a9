"""Who rides in a batch: the backbone's own callers, and those of heads on it, each answered from its own rows."""

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

Answers = list[Tensors | ZooError]


def answers(task: Task, outputs: Tensors, items: Sequence[Item]) -> Answers:
    """A batch's outputs → one row for each item: of the network's own outputs, or of what its head makes of the features.

    A head that fails takes down its own rows alone. In a lane.
    """
    if all(item.head is None for item in items):
        return [*task.split(outputs, items)]
    features = features_of(task.card, outputs, len(items))
    riders: dict[RunsOnFeatures | None, list[int]] = {}
    for i, item in enumerate(items):
        riders.setdefault(item.head, []).append(i)
    rows: dict[int, Tensors | ZooError] = {}
    for head, numbers in riders.items():
        if head is None:
            own = task.split(outputs, items)
            rows |= {i: own[i] for i in numbers}
        else:
            rows |= zip(numbers, _of_head(head, features[numbers], [items[i] for i in numbers]), strict=True)
    return [rows[i] for i in range(len(items))]


def features_of(card: Card, outputs: Tensors, count: int) -> NDArray[np.float32]:
    """The features of a batch, `[rows, width]`. Raises RuntimeError for a network that has none."""
    found = outputs.get(FEATURES)
    if found is None:
        found = outputs[card.signature.outputs[0].name]
    if found.ndim != 2 or len(found) != count:
        raise RuntimeError(f"the network's features have shape {found.shape} for {count} items")
    return np.asarray(found, np.float32)


def _of_head(head: RunsOnFeatures, features: NDArray[np.float32], items: Sequence[Item]) -> Answers:
    try:
        outputs = head.run(features, items)
        if any(len(array) != len(items) for array in outputs.values()):
            raise RuntimeError("a head lost rows")
        return [{name: array[i] for name, array in outputs.items()} for i in range(len(items))]
    except Exception:  # neighbours in the batch have nothing to do with it
        reference = uuid.uuid4().hex[:12]
        log.exception("a head failed", head=getattr(head, "name", ""), reference=reference)
        return [InternalError(reference) for _ in items]

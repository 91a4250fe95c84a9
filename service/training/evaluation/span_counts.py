"""Counts of spans that a network finds, as its served version would answer, and that a baseline finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.datasets.dataset import TextSpan
from service.tasks.base import Task
from service.types import Entities, Item, Options


def answered_spans(task: Task, item: Item, logits: NDArray[np.float32], labels: Sequence[str]) -> list[TextSpan]:
    """The spans that a served version gives for a text, without spaces at their ends. `labels`: of spans.

    Args:
        logits: of the tokens, (T, tags).
    """
    answer = task.postprocess({task.card.signature.outputs[0].name: logits}, item, Options())
    assert isinstance(answer, Entities)
    spans = []
    for one in answer.entities:
        start = one.start + len(one.text) - len(one.text.lstrip())
        spans.append(TextSpan(start, start + len(one.text.strip()), labels.index(one.label)))
    return spans


def count_spans(
    found: Sequence[Sequence[TextSpan]], true: Sequence[Sequence[TextSpan]], labels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(found, marked) by example and label, (n, labels, 2), and true spans, (n, labels). A span is found if its boundaries and
    its label are those of a true one."""
    outputs = np.zeros((len(found), labels, 2), np.int64)
    targets = np.zeros((len(found), labels), np.int64)
    for row, (ours, theirs) in enumerate(zip(found, true, strict=True)):
        known = set(theirs)
        for span in theirs:
            targets[row, span.label] += 1
        for span in ours:
            outputs[row, span.label] += (span in known, 1)
    return outputs, targets

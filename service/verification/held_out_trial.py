"""A trial runs the held-out examples of a tuned version through a runtime and judges the answers.

The version's folder lists the held-out examples and stores the network's outputs for them in fp32; the examples themselves are
read from the data set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import ZooModelError
from model_zoo.golden.held_out import HeldOut, read_held_out
from service.datasets.dataset import Examples
from service.datasets.examples import open_dataset
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.errors import ZooError
from service.observability.log import logger
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.judgement import decides, judge

log = logger(__name__)

MIN_EXAMPLES = 2
"""Fewest held-out examples that are judged."""


class Trial:
    """The held-out examples of a version and a runtime's answers, which are added in any order."""

    def __init__(self, task: Task, held_out: HeldOut, examples: Examples) -> None:
        self._task = task
        self._held_out = held_out
        self._examples = examples
        self._output = task.card.signature.outputs[0].name
        self._answers: dict[int, NDArray[np.float32]] = {}

    def batches(self, rows: int) -> Iterator[tuple[list[int], list[Item]]]:
        """The examples as items, at most `rows` at a time, with their numbers. An example that cannot be read is left out."""
        count = len(self._held_out.indices)
        for start in range(0, count, rows):
            numbers = range(start, min(start + rows, count))
            some = [self._examples[int(self._held_out.indices[n])] for n in numbers]
            outcomes = self._task.preprocess([e.instance for e in some], [e.origin for e in some])
            found = [(n, item) for n, item in zip(numbers, outcomes, strict=True) if isinstance(item, Item)]
            if found:
                yield [n for n, _ in found], [item for _, item in found]

    def add(self, number: int, row: Tensors) -> None:
        """Adds the runtime's answer to an example."""
        self._answers[number] = np.asarray(row[self._output], np.float32).ravel()

    def decisions(self, runs: str) -> Decisions | None:
        """The figures; None if too few examples could be read."""
        if len(self._answers) < MIN_EXAMPLES:
            return None
        numbers = sorted(self._answers)
        outputs = np.stack([self._answers[n] for n in numbers])
        held_out = self._held_out
        return judge(self._task.card, runs, held_out.outputs[numbers], outputs, held_out.targets[numbers])


def open_trial(record: CheckRecord, task: Task) -> Trial | None:
    """The trial of a record's version; None where it has no held-out examples (any more), or its task decides nothing.

    Reads files: not on the event loop.
    """
    found = _open(record) if decides(task.card) else None
    return None if found is None else Trial(task, *found)


def items_beside(record: CheckRecord, task: Task, most: int) -> list[Item]:
    """Up to `most` examples of a version's data, evenly spread, that are not among its held-out ones; empty where there are no
    data (any more).

    Reads files: not on the event loop.
    """
    found = _open(record)
    if found is None:
        return []
    held_out, examples = found
    judged = {*map(int, held_out.indices)}
    others = [index for index in range(len(examples)) if index not in judged]
    count = min(most, len(others))
    some = [examples[others[n * len(others) // count]] for n in range(count)]
    outcomes = task.preprocess([e.instance for e in some], [e.origin for e in some])
    return [item for item in outcomes if isinstance(item, Item)]


def example_count(record: CheckRecord) -> int:
    """How many examples the data of a version have; 0 where there are none (any more)."""
    found = _open(record)
    return 0 if found is None else len(found[1])


def _open(record: CheckRecord) -> tuple[HeldOut, Examples] | None:
    """The held-out examples of a version, and the data they are from; None where one of them is gone or damaged."""
    version = record.version
    if version is None:
        return None
    try:
        held_out = read_held_out(version.model, version.held_out)
        if held_out is None or len(held_out.indices) < MIN_EXAMPLES:
            return None
        examples = open_dataset(version.home, held_out.dataset)
        if int(held_out.indices.max()) >= len(examples) or int(held_out.indices.min()) < 0:
            return None
    except (ZooError, ZooModelError):  # deleted meanwhile, or damaged
        return None
    except Exception:  # readers raise many kinds of errors for a damaged data set
        log.exception("held-out examples cannot be read", model=version.model, version=version.number)
        return None
    return held_out, examples

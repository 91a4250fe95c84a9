"""Whether a network that is to take a base's place serves the heads on it, too: each is asked for its golden items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model_zoo.errors import ZooModelError
from service.registry.golden import answers_problem, items_of
from service.registry.head_served import HeadServed
from service.registry.riding import features_of
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Item, Tensors


def heads_problem(task: Task, runtime: Runtime, heads: Iterable[HeadServed], most_rows: int) -> str | None:
    """What is wrong with the first head that would answer otherwise; None if none would. `task` is the base's.

    Reads files and runs the network, in batches of up to `most_rows`: not on the event loop.
    """
    for head in heads:
        problem = _problem(task, runtime, head, most_rows)
        if problem is not None:
            return f"version {head.version} of {head.name!r}, which rides on it: {problem}"
    return None


def _problem(task: Task, runtime: Runtime, head: HeadServed, most_rows: int) -> str | None:
    try:
        golden = head.golden()
    except ZooModelError:
        return "its golden items cannot be read"
    items = items_of(head.card, golden)
    rows: list[Tensors] = []
    for start in range(0, len(items), most_rows):
        rows += _answers(task, runtime, head, items[start : start + most_rows])
    return answers_problem(head.card, runtime.precision, rows, golden)


def _answers(task: Task, runtime: Runtime, head: HeadServed, items: Sequence[Item]) -> list[Tensors]:
    """One batch through the base and the head, as in a lane."""
    features = features_of(task.card, runtime.run(task.collate(items)[0]), len(items))
    outputs = head.head.run(features, items)
    return [{name: array[i] for name, array in outputs.items()} for i in range(len(items))]

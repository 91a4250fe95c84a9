"""What a network is held to at load: the golden cases of a card, or the golden items that came with a tuned version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.errors import InternalError
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Answer, Instance, Item, Options, Tensors
from service.verification.probes import Runs, closeness_problem, nearness

LEAST_COSINE = 0.99
"""Of logits that a reduced precision gave and those of fp32."""


def golden_problem(task: Task, runtime: Runs, golden: Sequence[GoldenItem] = ()) -> str | None:
    """Runs the golden cases and items through a network. What is wrong, with figures; None if nothing is."""
    for number, case in enumerate(task.card.golden):
        answers = {text: _answer(task, runtime, task.text_instance(text)) for text in task.golden_texts(case.expect)}
        answer = _answer(task, runtime, task.golden_instance(case.input))
        problem = task.golden_problem(case.expect, answer, answers)
        if problem is not None:
            return f"case {number + 1} of {len(task.card.golden)}: {problem}"
    items = items_of(task.card, golden)
    rows = [task.split(runtime.run(task.collate([item])[0]), [item])[0] for item in items]
    return items_problem(task.card, rows, golden)


def items_of(card: Card, golden: Sequence[GoldenItem]) -> list[Item]:
    """Golden items as they stand in a queue."""
    along = card.batching.length_of
    return [Item(one.inputs, len(one.inputs[along]) if along is not None else 1) for one in golden]


def items_problem(card: Card, rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> str | None:
    """What is wrong with a tuned network's answers to its golden items; None if they are as the job that trained it got them."""
    allowed = card.tolerance.max_abs_error
    for number, (row, one) in enumerate(zip(rows, golden, strict=True)):
        for name, expected in one.outputs.items():
            got = row.get(name)
            if got is None or got.shape != expected.shape:
                return f"item {number + 1} of {len(golden)}: the output {name!r} is missing, or has another shape"
            error = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
            if not error <= allowed:
                which = f"item {number + 1} of {len(golden)}"
                came, most = format_against(error, allowed)
                return f"{which} differs by {came} from what training got; allowed is {most}"
    return None


def answers_problem(card: Card, precision: str, rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> str | None:
    """As `items_problem`, for a head on a network that runs in `precision`.

    Training got its answers in fp32. In another precision they may differ by what the card allows any network there.
    """
    if precision == "fp32" or not golden:
        return items_problem(card, rows, golden)
    return closeness_problem(card, precision, nearness(card, list(enumerate(rows)), [one.outputs for one in golden]))


def decide_alike(rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> bool:
    """Whether a classifier in fp32 names the same classes as its golden items, by logits that point nearly the same way.

    Earlier releases noted golden items of heads whose base ran in bf16 while they were trained; fp32 misses those by more than a
    card allows, and is right.
    """
    pairs = [
        (row.get(name), expected)
        for row, one in zip(rows, golden, strict=True)
        for name, expected in one.outputs.items()
    ]
    for got, expected in pairs:
        if got is None or got.shape != expected.shape or expected.size < 2 or not np.isfinite(got).all():
            return False
        a, b = got.ravel().astype(np.float64), expected.ravel().astype(np.float64)
        if a.argmax() != b.argmax() or a @ b < LEAST_COSINE * np.linalg.norm(a) * np.linalg.norm(b):
            return False
    return bool(pairs)


def _answer(task: Task, runtime: Runs, instance: Instance) -> Answer:
    (item,) = task.preprocess([instance], ["golden"])
    if not isinstance(item, Item):
        raise InternalError from item
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    return task.postprocess(row, item, Options())

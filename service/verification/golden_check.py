"""The checks of a network at load: the golden cases of its card, or the golden items that were published with a tuned version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.errors import InternalError
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Answer, Instance, Item, Options, Tensors
from service.verification.probes import Runs, closeness, closeness_problem

MIN_LOGIT_COSINE = 0.99
"""Least cosine between logits of a reduced precision and those of fp32."""


def golden_problem(task: Task, runtime: Runs, golden: Sequence[GoldenItem] = ()) -> str | None:
    """Runs the golden cases and items through a network. The first problem, with figures; None if there is none."""
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
    """Golden items as items of a queue."""
    length_of = card.batching.length_of
    return [Item(one.inputs, len(one.inputs[length_of]) if length_of is not None else 1) for one in golden]


def items_problem(card: Card, rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> str | None:
    """The first answer of a tuned network that differs from the answer its job got; None if none does."""
    allowed = card.tolerance.max_abs_error
    for number, (row, one) in enumerate(zip(rows, golden, strict=True)):
        for name, expected in one.outputs.items():
            got = row.get(name)
            if got is None or got.shape != expected.shape:
                return f"item {number + 1} of {len(golden)}: the output {name!r} is missing, or has another shape"
            error = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
            if not error <= allowed:
                which = f"item {number + 1} of {len(golden)}"
                shown, most = format_against(error, allowed)
                return f"{which} differs by {shown} from what training got; allowed is {most}"
    return None


def answers_problem(card: Card, precision: str, rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> str | None:
    """As `items_problem`, for a head on a network that runs in `precision`.

    The job got its answers in fp32. In another precision they may differ as far as the card allows for any network.
    """
    if precision == "fp32" or not golden:
        return items_problem(card, rows, golden)
    return closeness_problem(card, precision, closeness(card, list(enumerate(rows)), [one.outputs for one in golden]))


def names_same_classes(rows: Sequence[Tensors], golden: Sequence[GoldenItem]) -> bool:
    """Whether a classifier in fp32 names the classes of its golden items, with logits in nearly the same direction.

    Earlier releases published golden items of heads whose base ran in bf16 during training. fp32 differs from those by more than
    a card allows, and is right.
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
        if a.argmax() != b.argmax() or a @ b < MIN_LOGIT_COSINE * np.linalg.norm(a) * np.linalg.norm(b):
            return False
    return bool(pairs)


def _answer(task: Task, runtime: Runs, instance: Instance) -> Answer:
    (item,) = task.preprocess([instance], ["golden"])
    if not isinstance(item, Item):
        raise InternalError from item
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    return task.postprocess(row, item, Options())

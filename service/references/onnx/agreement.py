"""The served session beside the trial of the graph as it is written, and the golden cases that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from model_zoo.cards.card import Card, Verification
from model_zoo.errors import NotDerivable, NotEqual
from model_zoo.golden.golden_case import GoldenCase, GoldenInput, OutputValues, TensorsExpectation
from model_zoo.golden.seeded_tensors import spread
from service.references.agreement import zoo_items
from service.references.comparison.compared import ComparedAnswers
from service.references.comparison.vectors import class_expectation
from service.references.onnx.trial import SEEDS, allowed_difference, largest_difference
from service.references.verification_inputs import verification_inputs
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.probes import Runs, alone, invariance_problem

GOLDEN_SHARE = 5
"""A golden case allows so many times the difference that is allowed at the pull: another processor rounds otherwise."""


def agreed(card: Card, shown: str, task: Task, session: Runs, trial: Sequence[Tensors]) -> Card:
    """The card with its verification, golden cases and tolerance.

    Args:
        session: as it serves: optimised.
        trial: outputs of the seeded inputs, with the rows axis, by the graph as it is written.

    Raises:
        NotEqual: an output differs, with the figures.
        NotDerivable: an answer depends on the other rows of its batch.
    """
    allowed = allowed_difference(trial)
    cases = [
        GoldenCase(input=GoldenInput(seed=seed), expect=_expectation(row, GOLDEN_SHARE * allowed))
        for seed, row in zip(SEEDS, trial, strict=True)
    ]
    items = []
    for case in cases:
        (item,) = task.preprocess([task.golden_instance(case.input)], ["input"])
        assert isinstance(item, Item)
        items.append(item)
    ours = alone(task, session, items)
    worst = 0.0
    for seed, row, expected in zip(SEEDS, ours, trial, strict=True):
        difference = largest_difference({name: array[np.newaxis] for name, array in row.items()}, expected)
        if not difference <= allowed:
            got, most = format_against(difference, allowed)
            raise NotEqual(shown, f"for the inputs of the seed {seed} by up to {got}; allowed is {most}")
        worst = max(worst, difference)
    library = f"onnxruntime {version('onnxruntime')} without optimisation"
    card = card.model_copy(
        update={
            "golden": tuple(cases),
            "verification": Verification(library=library, inputs=len(SEEDS), max_difference=worst, bound=allowed),
            "tolerance": card.tolerance.model_copy(update={"max_abs_error": allowed}),
        }
    )
    problem = invariance_problem(type(task)(card), session, ours, items)
    if problem is not None:
        raise NotDerivable(shown, f"its answers depend on the other rows of a batch: {problem}")
    return card


def with_photos(card: Card, shown: str, task_of: Callable[[Card], Task], session: Runs) -> Card:
    """The card of a classifier of images with golden cases: the classes that photos which ship with Zoo get now.

    Raises NotDerivable where an answer depends on the other rows of its batch.
    """
    inputs, task = verification_inputs("image"), task_of(card)
    items = zoo_items(task, inputs, shown)
    rows = alone(task, session, items)
    allowed = max(card.tolerance.max_abs_error, allowed_difference(rows))  # outputs for photos may be larger
    card = card.model_copy(update={"tolerance": card.tolerance.model_copy(update={"max_abs_error": allowed})})
    problem = invariance_problem(task_of(card), session, rows, items)
    if problem is not None:
        raise NotDerivable(shown, f"its answers depend on the other rows of a batch: {problem}")
    cases = tuple(
        GoldenCase(input=one, expect=class_expectation(ComparedAnswers(card, task, item, row, None)))
        for one, item, row in zip(inputs, items, rows, strict=True)
    )
    return card.model_copy(update={"golden": cases})


def _expectation(row: Tensors, tolerance: float) -> TensorsExpectation:
    return TensorsExpectation(
        outputs={
            name: OutputValues(
                shape=array.shape[1:],
                values=tuple(float(f"{value:.7g}") for value in spread(array)),
                tolerance=tolerance,
            )
            for name, array in row.items()
        }
    )

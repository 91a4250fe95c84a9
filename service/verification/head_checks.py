"""Whether a head may run on its base as the base runs now, or is about to run.

    base in fp32               the golden items, as exactly as the card demands; where the head misses them (another processor,
                               another torch), its decisions
    base in a reduced          the decisions on held-out examples of the head's own data (`judgement.py`); the golden items by the
    precision                  card's thresholds where there are no such examples, as in versions of an earlier Zoo

A head that does not hold on a reduced precision runs on an fp32 runtime of its base. One that does not hold in fp32 is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from model_zoo.errors import ZooModelError
from model_zoo.golden.golden_items import GoldenItem
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.engine.head_dispatch import features_of
from service.engine.served_head import ServedHead
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.check_key import check_key, tier_and_precision
from service.verification.golden_check import (
    answers_problem,
    items_of,
    items_problem,
    names_same_classes,
)
from service.verification.held_out_trial import Trial, open_trial


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """The outcome of a check."""

    problem: str | None = None
    """Why the head may not run on the runtime; None where it may."""
    decisions: Decisions | None = None
    """The figures, if its decisions were judged."""


HOLDS = HeadCheck()

HeadCheckSteps = Generator[Sequence[Item], list[Tensors] | None, HeadCheck]
"""Yields items, receives the head's answers to them, returns the outcome."""
_DecisionSteps = Generator[Sequence[Item], list[Tensors] | None, Decisions | None]
_AnswerSteps = Generator[Sequence[Item], list[Tensors] | None, list[Tensors]]


def check_head(base: Task, runtime: Runtime, head: ServedHead, most_rows: int) -> HeadCheck:
    """Checks a head on a runtime of its base. `base` is the base's task.

    Reads files and runs the network, in batches of up to `most_rows`: not on the event loop.
    """
    try:
        golden = head.golden()
    except ZooModelError:
        return HeadCheck("its golden items cannot be read")
    steps = head_check_steps(head.task, runtime, golden, head.record, most_rows)
    answers: list[Tensors] | None = None
    while True:
        try:
            items = steps.send(answers)
        except StopIteration as end:
            found: HeadCheck = end.value
            return found
        answers = _answers(base, runtime, head, items)


def head_check_steps(
    task: Task,
    runtime: Runtime,
    golden: Sequence[GoldenItem],
    record: CheckRecord,
    most_rows: int,
    unchanged: Callable[[], bool] = lambda: True,
) -> HeadCheckSteps:
    """The check as a generator: it yields items, receives the head's answers to them, and returns a HeadCheck.

    The code between two yields may block. `task` is the head's. `unchanged` says whether `runtime` gave all the answers; figures
    of a runtime that was replaced meanwhile are not stored.
    """
    card, precision = task.card, runtime.precision
    rows = yield from _in_batches(items_of(card, golden), most_rows)
    if precision == "fp32":
        problem = items_problem(card, rows, golden)
        if problem is None:
            return HOLDS
        decisions = yield from _decisions(task, runtime, record, most_rows, unchanged, remeasure=True)
        if decisions is None:
            return HOLDS if names_same_classes(rows, golden) else HeadCheck(f"the golden check failed: {problem}")
        return HeadCheck(
            f"the golden check failed: {problem}; {decisions.problem}" if decisions.problem else None, decisions
        )
    problem = answers_problem(card, precision, rows, golden)
    # Stored figures are of the head as it was published. They are measured again if its golden items come out otherwise.
    remeasure = problem is not None and not names_same_classes(rows, golden)
    decisions = yield from _decisions(task, runtime, record, most_rows, unchanged, remeasure=remeasure)
    if decisions is not None:
        return HeadCheck(decisions.problem or None, decisions)
    return HeadCheck(problem if golden else "there is nothing to check it with")


def _decisions(
    task: Task, runtime: Runtime, record: CheckRecord, most_rows: int, unchanged: Callable[[], bool], *, remeasure: bool
) -> _DecisionSteps:
    """The stored figures (unless `remeasure`), else figures that are measured and stored now; None without held-out examples."""
    key = check_key(runtime)
    decisions = None if remeasure else record.noted(key)
    trial = open_trial(record, task) if decisions is None else None
    if trial is None:
        return decisions
    for numbers, items in trial.batches(most_rows):
        _add(trial, numbers, (yield items))
    decisions = trial.decisions(tier_and_precision(runtime))
    if decisions is not None and unchanged():
        record.note(key, decisions)
    return decisions


def _add(trial: Trial, numbers: Sequence[int], rows: Sequence[Tensors] | None) -> None:
    for number, row in zip(numbers, rows or (), strict=True):
        trial.add(number, row)


def _in_batches(items: Sequence[Item], most_rows: int) -> _AnswerSteps:
    rows: list[Tensors] = []
    for start in range(0, len(items), most_rows):
        rows += (yield items[start : start + most_rows]) or ()
    return rows


def _answers(base: Task, runtime: Runtime, head: ServedHead, items: Sequence[Item]) -> list[Tensors]:
    """Runs one batch through the base and the head."""
    features = features_of(base.card, runtime.run(base.collate(items)[0]), len(items))
    outputs = head.head.run(features, items)
    return [{name: array[i] for name, array in outputs.items()} for i in range(len(items))]

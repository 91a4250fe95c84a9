"""Whether a head may run on its base as the base runs now, or is about to.

    base in fp32               the golden items, as exactly as the card wants it; where they miss it (another processor, another
                               torch), the head's decisions
    base in a reduced          the head's decisions on held-out examples of its own data (`judgement.py`); the golden items by the
    precision                  card's thresholds where there are no such examples, as in versions of an earlier Zoo

A head that does not hold on a reduced precision runs on an fp32 runtime of its base (`head_loading.py`). One that does not
hold in fp32 is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from model_zoo.errors import ZooModelError
from model_zoo.golden.golden_items import GoldenItem
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.engine.head_dispatch import features_of
from service.engine.served_head import HeadServed
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.check_key import check_key, tier_and_precision
from service.verification.golden_check import (
    answers_problem,
    decide_alike,
    items_of,
    items_problem,
)
from service.verification.held_out_trial import Trial, open_trial


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """What was found."""

    problem: str | None = None
    """Why the head may not run so; None where it may."""
    decisions: Decisions | None = None
    """The figures, where its decisions were looked at."""


HOLDS = HeadCheck()

Checking = Generator[Sequence[Item], list[Tensors] | None, HeadCheck]
"""Yields items, is sent what the head answers to them, returns what was found."""
_Deciding = Generator[Sequence[Item], list[Tensors] | None, Decisions | None]
_Asking = Generator[Sequence[Item], list[Tensors] | None, list[Tensors]]


def check_head(base: Task, runtime: Runtime, head: HeadServed, most_rows: int) -> HeadCheck:
    """Checks a head on a runtime of its base. `base` is the base's task.

    Reads files and runs the network, in batches of up to `most_rows`: not on the event loop.
    """
    try:
        golden = head.golden()
    except ZooModelError:
        return HeadCheck("its golden items cannot be read")
    steps = checking(head.task, runtime, golden, head.record, most_rows)
    answers: list[Tensors] | None = None
    while True:
        try:
            items = steps.send(answers)
        except StopIteration as end:
            found: HeadCheck = end.value
            return found
        answers = _answers(base, runtime, head, items)


def checking(
    task: Task,
    runtime: Runtime,
    golden: Sequence[GoldenItem],
    record: CheckRecord,
    most_rows: int,
    still: Callable[[], bool] = lambda: True,
) -> Checking:
    """The check as a generator, for whoever can ask the head: it yields items, is sent their answers, and returns a HeadCheck.

    `still` says whether `runtime` has given all the answers; figures of a runtime that was exchanged meanwhile are not noted.

    What comes between two yields may block. `task` is the head's.
    """
    card, precision = task.card, runtime.precision
    rows = yield from _in_batches(items_of(card, golden), most_rows)
    if precision == "fp32":
        problem = items_problem(card, rows, golden)
        if problem is None:
            return HOLDS
        decisions = yield from _decisions(task, runtime, record, most_rows, still, anew=True)
        if decisions is None:
            return HOLDS if decide_alike(rows, golden) else HeadCheck(f"the golden check failed: {problem}")
        return HeadCheck(
            f"the golden check failed: {problem}; {decisions.problem}" if decisions.problem else None, decisions
        )
    problem = answers_problem(card, precision, rows, golden)
    # Kept figures are of the head as it was published: one whose golden items come out otherwise is measured anew.
    anew = problem is not None and not decide_alike(rows, golden)
    decisions = yield from _decisions(task, runtime, record, most_rows, still, anew=anew)
    if decisions is not None:
        return HeadCheck(decisions.problem or None, decisions)
    return HeadCheck(problem if golden else "there is nothing to check it with")


def _decisions(
    task: Task, runtime: Runtime, record: CheckRecord, most_rows: int, still: Callable[[], bool], *, anew: bool
) -> _Deciding:
    """The figures as they were noted (not `anew`), or measured now and noted; None where there are no held-out examples."""
    key = check_key(runtime)
    decisions = None if anew else record.noted(key)
    trial = open_trial(record, task) if decisions is None else None
    if trial is None:
        return decisions
    for numbers, items in trial.batches(most_rows):
        _add(trial, numbers, (yield items))
    decisions = trial.decisions(tier_and_precision(runtime))
    if decisions is not None and still():
        record.note(key, decisions)
    return decisions


def _add(trial: Trial, numbers: Sequence[int], rows: Sequence[Tensors] | None) -> None:
    for number, row in zip(numbers, rows or (), strict=True):
        trial.add(number, row)


def _in_batches(items: Sequence[Item], most_rows: int) -> _Asking:
    rows: list[Tensors] = []
    for start in range(0, len(items), most_rows):
        rows += (yield items[start : start + most_rows]) or ()
    return rows


def _answers(base: Task, runtime: Runtime, head: HeadServed, items: Sequence[Item]) -> list[Tensors]:
    """One batch through the base and the head, as in a lane."""
    features = features_of(base.card, runtime.run(base.collate(items)[0]), len(items))
    outputs = head.head.run(features, items)
    return [{name: array[i] for name, array in outputs.items()} for i in range(len(items))]

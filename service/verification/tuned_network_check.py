"""How a tuned version with a network of its own decides on a runtime, against fp32."""

from __future__ import annotations

from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.verification.check_key import check_key, tier_and_precision
from service.verification.held_out_trial import open_trial


def decisions_of(
    task: Task, runtime: Runtime, record: CheckRecord, most_rows: int, *, remeasure: bool = False
) -> Decisions | None:
    """The stored figures (unless `remeasure`), else figures that are measured and stored now; None without held-out examples.

    Reads files and runs the network, in batches of up to `most_rows`: not on the event loop.
    """
    key = check_key(runtime)
    decisions = None if remeasure else record.noted(key)
    trial = open_trial(record, task) if decisions is None else None
    if trial is None:
        return decisions
    for numbers, items in trial.batches(most_rows):
        rows = task.split(runtime.run(task.collate(items)[0]), items)
        for number, row in zip(numbers, rows, strict=True):
            trial.add(number, row)
    decisions = trial.decisions(tier_and_precision(runtime))
    if decisions is not None:
        record.note(key, decisions)
    return decisions

"""Checks a head while its base serves: the items of the check pass through the queue of the base, after those of callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from model_zoo.golden.golden_items import GoldenItem
from service.engine.served_head import ServedHead
from service.errors import QueueFull
from service.registry.loading.background import in_daemon
from service.types import LAST_PRIORITY, Item, Row, Tensors
from service.verification.head_checks import HeadCheck, HeadCheckSteps, head_check_steps

CHECK_TIMEOUT_S = 60.0
"""How long a batch of a head's check may wait in the base's queue."""
MAX_PAUSE_S = 0.1


async def check_in_queue(served: ServedHead, golden: Sequence[GoldenItem]) -> HeadCheck:
    """Checks a head through the queue of its base, in batches together with rows of callers; rows of callers go first."""
    runtime = served.runtime
    most_rows = served.base.limits.max_batch_size
    steps = head_check_steps(
        served.task, runtime, golden, served.record, most_rows, lambda: served.base.runtime is runtime
    )
    answers: list[Tensors] | None = None
    while True:
        step = await in_daemon(partial(_step, steps, answers), f"check-{served.name}")
        if isinstance(step, HeadCheck):
            return step
        rows = await _ask(served, step)
        if len(rows) < len(step):
            return HeadCheck("it could not answer; the server's log says why")
        answers = [row.tensors for row in rows]


def _step(steps: HeadCheckSteps, answers: list[Tensors] | None) -> Sequence[Item] | HeadCheck:
    try:
        return steps.send(answers)
    except StopIteration as end:
        found: HeadCheck = end.value
        return found


async def _ask(served: ServedHead, items: Sequence[Item]) -> list[Row]:
    """The answers of a head; fewer rows where it fails."""
    base = served.base
    while True:
        try:
            base.admit(len(items))
            break
        except QueueFull as full:
            await asyncio.sleep(min(full.retry_after_s, MAX_PAUSE_S))
    try:
        outcomes = await served.submit(items, time.monotonic() + CHECK_TIMEOUT_S, LAST_PRIORITY).result()
    finally:
        base.release(len(items))
    return [outcome for outcome in outcomes if isinstance(outcome, Row)]

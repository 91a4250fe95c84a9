"""Checks a head while its base serves: its items ride through the queue of the base, and callers come first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from model_zoo.golden.golden_items import GoldenItem
from service.engine.served_head import HeadServed
from service.errors import QueueFull
from service.registry.loading.background import in_daemon
from service.types import Item, Row, Tensors
from service.verification.head_checks import Checking, HeadCheck, checking

CHECK_S = 60.0
"""How long a batch of a head's check may wait in the base's queue."""
LAST = 9
"""Priority of a check: after whoever calls."""
LONGEST_PAUSE_S = 0.1


async def check_in_queue(served: HeadServed, golden: Sequence[GoldenItem]) -> HeadCheck:
    """Checks a head through the queue of its base, in batches with whoever else is there; callers come first."""
    runtime = served.runtime
    most_rows = served.base.limits.max_batch_size
    steps = checking(served.task, runtime, golden, served.record, most_rows, lambda: served.base.runtime is runtime)
    answers: list[Tensors] | None = None
    while True:
        step = await in_daemon(partial(_step, steps, answers), f"check-{served.name}")
        if isinstance(step, HeadCheck):
            return step
        rows = await _asked(served, step)
        if len(rows) < len(step):
            return HeadCheck("it could not answer; the server's log says why")
        answers = [row.tensors for row in rows]


def _step(steps: Checking, answers: list[Tensors] | None) -> Sequence[Item] | HeadCheck:
    try:
        return steps.send(answers)
    except StopIteration as end:
        found: HeadCheck = end.value
        return found


async def _asked(served: HeadServed, items: Sequence[Item]) -> list[Row]:
    """What a head answers; fewer rows where it fails."""
    base = served.base
    while True:
        try:
            base.enter(len(items))
            break
        except QueueFull as full:
            await asyncio.sleep(min(full.retry_after_s, LONGEST_PAUSE_S))
    try:
        outcomes = await served.submit(items, time.monotonic() + CHECK_S, LAST).result()
    finally:
        base.leave(len(items))
    return [outcome for outcome in outcomes if isinstance(outcome, Row)]

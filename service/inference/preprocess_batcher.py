"""Batches the preprocessing of many callers: several requests share one call of `Task.preprocess` in the CPU pool.

A hop to a thread and back costs about as much as tokenising a sentence. So requests that arrive while the pool is busy, or
within one turn of the event loop, share a call: up to as many instances as the task prepares well at once (`Task.chunk`). A
caller who left before the call began costs nothing. Where more requests wait than one call takes, the earliest effective
deadlines go first, as in the queue that comes next. Where a call fails, its instances are prepared one by one, so that only
the one to blame fails.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from model_zoo.errors import panics_as_errors
from service.errors import InternalError, ZooError
from service.observability.log import logger
from service.tasks.base import Task
from service.types import Instance, Item

log = logger(__name__)

Outcomes = Sequence[Item | ZooError]


class PreparedItems(NamedTuple):
    """The outcomes of one caller's instances."""

    outcomes: Outcomes
    """One for each instance, in order."""
    seconds: float
    """Seconds of the call, without the wait for it."""


@dataclass(frozen=True, slots=True)
class _Share:
    """One caller's share of a call, and where its outcomes go."""

    instances: Sequence[Instance]
    paths: Sequence[str]
    outcomes: asyncio.Future[PreparedItems]


class PreprocessBatcher:
    """Preprocesses instances of one task. Belongs to the event loop; `Task.preprocess` runs in the pool."""

    def __init__(self, task: Task, pool: ThreadPoolExecutor, most_calls: int) -> None:
        """At most `most_calls` run at once: as many as the pool has threads, so that later requests gather meanwhile."""
        self._task = task
        self._pool = pool
        self._most_calls = most_calls
        self._waiting: list[tuple[float, int]] = []  # a heap of effective deadlines and ages
        self._shares: dict[int, _Share] = {}
        """Shares that wait, by age. A caller that leaves removes its share with all its data at once; in the heap a number
        stays."""
        self._age = itertools.count()
        self._calls = 0
        self._due = False

    async def prepare(
        self, instances: Sequence[Instance], paths: Sequence[str], effective_deadline: float = 0.0
    ) -> PreparedItems:
        """`paths` name the instances for error texts; `effective_deadline`: see `scheduler/policy.py`."""
        loop = asyncio.get_running_loop()
        age = next(self._age)
        share = self._shares[age] = _Share(instances, paths, loop.create_future())
        heapq.heappush(self._waiting, (effective_deadline, age))
        if not self._due and self._calls < self._most_calls:
            self._due = True
            loop.call_soon(self._begin)  # at the end of this turn: other requests may arrive within it
        try:
            return await share.outcomes
        finally:
            self._shares.pop(age, None)

    def _begin(self) -> None:
        self._due = False
        while self._calls < self._most_calls and (shares := self._next_shares()):
            self._call(shares)

    def _next_shares(self) -> list[_Share]:
        """Shares whose callers still wait, up to the task's chunk; at least one share, whatever its size."""
        shares: list[_Share] = []
        count = 0
        while self._waiting:
            age = self._waiting[0][1]
            share = self._shares.get(age)
            if share is not None and not share.outcomes.done():
                count += len(share.instances)
                if shares and count > self._task.chunk:
                    break
                shares.append(share)
            self._shares.pop(age, None)
            heapq.heappop(self._waiting)
        return shares

    def _call(self, shares: list[_Share]) -> None:
        self._calls += 1
        instances = [instance for share in shares for instance in share.instances]
        paths = [path for share in shares for path in share.paths]
        loop = asyncio.get_running_loop()
        began = loop.time()
        job = loop.run_in_executor(self._pool, _outcomes, self._task, instances, paths)
        job.add_done_callback(lambda done: self._deliver(shares, done, loop.time() - began))

    def _deliver(self, shares: list[_Share], job: asyncio.Future[list[Item | ZooError]], seconds: float) -> None:
        self._calls -= 1
        if job.cancelled():  # the pool was shut down
            for share in shares:
                share.outcomes.cancel()
            return
        outcomes = iter(job.result())
        for share in shares:
            own = [next(outcomes) for _ in share.instances]
            if not share.outcomes.done():
                share.outcomes.set_result(PreparedItems(own, seconds))
        if self._waiting:
            self._begin()


def _outcomes(task: Task, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
    """One outcome for each instance, whatever the task does. Runs in the pool; raises nothing."""
    try:
        with panics_as_errors():
            outcomes = task.preprocess(instances, paths)
        if len(outcomes) != len(instances):
            raise RuntimeError(f"{len(outcomes)} outcomes for {len(instances)} instances")
        return outcomes
    except Exception as error:
        if len(instances) > 1:
            log.warning("preprocessing failed and is repeated for each instance", model=task.card.name)
        elif isinstance(error, ZooError):
            return [error]
        else:
            reference = uuid.uuid4().hex[:12]
            log.exception("an instance could not be preprocessed", model=task.card.name, reference=reference)
            return [InternalError(reference)]
    # After the handler, so that the failed call's tensors are freed.
    alone = zip(instances, paths, strict=True)
    return [outcome for instance, path in alone for outcome in _outcomes(task, [instance], [path])]

"""Preprocessing in the CPU pool, many callers to a trip.

A trip to a thread and back costs about as much as tokenising a sentence, so what callers bring while the pool is busy, or
within one turn of the event loop, goes together: up to as many instances as the task prepares well at once (`Task.chunk`).
A caller who left before the trip began costs nothing. Where more wait than one trip takes, the earliest claims go first, as
they do in the queue that comes next.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from service.errors import ZooError
from service.tasks.base import Task
from service.types import Instance, Item

Outcomes = Sequence[Item | ZooError]


class Prepared(NamedTuple):
    """What became of one caller's instances."""

    outcomes: Outcomes
    """One for each, in order."""
    seconds: float
    """That the trip took, without the wait for it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one caller brought, and where its outcomes go."""

    instances: Sequence[Instance]
    paths: Sequence[str]
    outcomes: asyncio.Future[Prepared]


class PreprocessBatcher:
    """Prepares instances of one task. Lives on the event loop; `Task.preprocess` runs in the pool."""

    def __init__(self, task: Task, pool: ThreadPoolExecutor, most_trips: int) -> None:
        """`most_trips` may be under way at once: as many as the pool has threads, so that what comes meanwhile gathers."""
        self._task = task
        self._pool = pool
        self._most_trips = most_trips
        self._waiting: list[tuple[float, int]] = []  # a heap of claims and ages
        self._parts: dict[int, _Part] = {}
        """Of those who wait, by age. Who leaves is out of it at once, with all that it brought; in the heap a number stays."""
        self._age = itertools.count()
        self._trips = 0
        self._due = False

    async def prepare(self, instances: Sequence[Instance], paths: Sequence[str], claim: float = 0.0) -> Prepared:
        """`paths` name them for error texts; `claim`: see `scheduler/policy.py`."""
        loop = asyncio.get_running_loop()
        age = next(self._age)
        part = self._parts[age] = _Part(instances, paths, loop.create_future())
        heapq.heappush(self._waiting, (claim, age))
        if not self._due and self._trips < self._most_trips:
            self._due = True
            loop.call_soon(self._begin)  # not yet: others may come within this turn
        try:
            return await part.outcomes
        finally:
            self._parts.pop(age, None)

    def _begin(self) -> None:
        self._due = False
        while self._trips < self._most_trips and (parts := self._next_parts()):
            self._trip(parts)

    def _next_parts(self) -> list[_Part]:
        """Callers who wait and still want their answer, up to the task's chunk; one at least, however much it brought."""
        parts: list[_Part] = []
        count = 0
        while self._waiting:
            age = self._waiting[0][1]
            part = self._parts.get(age)
            if part is not None and not part.outcomes.done():
                count += len(part.instances)
                if parts and count > self._task.chunk:
                    break
                parts.append(part)
            self._parts.pop(age, None)
            heapq.heappop(self._waiting)
        return parts

    def _trip(self, parts: list[_Part]) -> None:
        self._trips += 1
        instances = [instance for part in parts for instance in part.instances]
        paths = [path for part in parts for path in part.paths]
        loop = asyncio.get_running_loop()
        began = loop.time()
        job = loop.run_in_executor(self._pool, self._task.preprocess, instances, paths)
        job.add_done_callback(lambda done: self._returned(parts, done, loop.time() - began))

    def _returned(self, parts: list[_Part], job: asyncio.Future[list[Item | ZooError]], seconds: float) -> None:
        self._trips -= 1
        if job.cancelled():  # the pool was shut down
            for part in parts:
                part.outcomes.cancel()
            return
        error = job.exception()
        if error is None and len(job.result()) != (count := sum(len(part.instances) for part in parts)):
            error = RuntimeError(f"{len(job.result())} outcomes for {count} instances")
        if error is None:
            outcomes = iter(job.result())
            for part in parts:
                own = [next(outcomes) for _ in part.instances]
                if not part.outcomes.done():
                    part.outcomes.set_result(Prepared(own, seconds))
        elif len(parts) == 1:
            if not parts[0].outcomes.done():
                parts[0].outcomes.set_exception(error)
        else:  # a mistake of ours, but whose part it was shall not be everybody's trouble
            for part in parts:
                self._trip([part])
        if self._waiting:
            self._begin()

"""One loaded version of a model: its task, its runtime, its place in the scheduler, and the door that counts who is in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from model_zoo.card import Card
from service.errors import QueueFull
from service.observability.recorder import Recorder
from service.runtime.network import NetworkRuntime
from service.scheduler.policy import Limits
from service.scheduler.scheduler import DeviceScheduler, ScheduledNetwork, Submission
from service.tasks.base import Task
from service.types import BatchReport, Item, Row

PREPARED_AHEAD = 4
"""Batches. A decoded photo or recording is many times its file, so no more than these are prepared at once for a model; what
waits beyond waits as it came."""


class ServedModel:
    """What a request meets after it was resolved. Lives on the event loop, save `_execute`, which lanes call."""

    def __init__(
        self,
        card: Card,
        version: int,
        task: Task,
        runtime: NetworkRuntime,
        limits: Limits,
        scheduler: DeviceScheduler,
        recorder: Recorder,
    ) -> None:
        self.card = card
        self.name = card.name
        self.version = version
        self.task = task
        self.runtime = runtime
        self.limits = limits
        self.rows_in_flight = 0
        self.room = asyncio.Semaphore(PREPARED_AHEAD * limits.max_batch_size)
        """Held by whoever has raw instances prepared, from before preprocessing until their rows are answered. Counts what one
        call prepares: a photo or a recording, or a chunk of texts, of which even a full one is small."""
        self._recorder = recorder
        self._scheduler = scheduler
        self._empty = asyncio.Event()
        self._empty.set()
        self._seconds_a_row = 0.01  # of the last batch; only for the hint that QueueFull carries
        self._network: ScheduledNetwork = scheduler.add(card.name, version, limits, self._execute)

    def enter(self, rows: int) -> None:
        """Lets a request of `rows` in, or raises QueueFull. Whoever entered must `leave`.

        A request larger than the whole limit gets in when nobody else is: it is split into batches, not refused.
        """
        if self.rows_in_flight and self.rows_in_flight + rows > self.limits.max_queue_size:
            wait_s = max(0.01, self.rows_in_flight * self._seconds_a_row)
            raise QueueFull(self.name, self.rows_in_flight, self.limits.max_queue_size, wait_s)
        self.rows_in_flight += rows
        self._empty.clear()

    def leave(self, rows: int) -> None:
        """A request that entered is answered or gone."""
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self._empty.set()

    def submit(self, items: Sequence[Item], deadline: float) -> Submission:
        """Queues rows for the device."""
        return self._network.submit(items, deadline)

    @property
    def queue_depth(self) -> int:
        """Rows that wait for the device."""
        return self._network.depth

    async def close(self) -> int:
        """Waits for those inside, then frees the network. Nobody may be admitted any more. Gives the bytes freed."""
        await self._empty.wait()
        self._scheduler.remove(self._network)
        held = self.runtime.memory_bytes
        self.runtime.free()
        return held

    def _execute(self, items: Sequence[Item]) -> list[Row]:
        """In a lane: collate, run, split. Whatever it raises, the scheduler sorts out."""
        started = time.monotonic()
        tensors, padding_ratio = self.task.collate(items)
        collated = time.monotonic()
        outputs = self.runtime.run(tensors)
        executed = time.monotonic()
        rows = self.task.split(outputs, items)
        finished = time.monotonic()
        self._seconds_a_row = (finished - started) / len(items)
        self._recorder.batch_executed(
            self.name,
            self.version,
            self.runtime.device,
            len(items),
            padding_ratio,
            collated - started,
            executed - collated,
            finished - executed,
        )
        report = BatchReport(started, finished, len(items), padding_ratio, self.runtime.device, self.runtime.precision)
        return [Row(row, report) for row in rows]

"""One loaded version of a model: its task, its runtime, its place in the scheduler, and the door that counts who is in."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Callable, Sequence

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.engine.admission import PendingRows, PrioritySemaphore
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.engine.head_dispatch import answers
from service.engine.runtime_handle import RuntimeHandle
from service.engine.tier_report import TierReport
from service.errors import InternalError, OutOfMemory, QueueFull, TooLate, ZooError
from service.observability.recorder import Recorder
from service.runtime.network import Runtime
from service.runtime.oom import is_out_of_memory
from service.runtime.padding import padded_length
from service.scheduler.pending_result import Told
from service.scheduler.policy import LEAST_RETRY_S, BatchLimits, effective_deadline
from service.scheduler.queued_row import Arrival
from service.scheduler.scheduler import DeviceScheduler, Execute, ScheduledNetwork, Submission
from service.tasks.base import Task
from service.types import BatchReport, Item, Row, Tensors

PREPARED_AHEAD = 4
"""Batches. A decoded photo or recording is many times its file, so no more than these are prepared at once for a model; what
waits beyond waits as it came."""

REPLIES, LARGEST_RESERVE = 3.0, 0.2
"""A row must be done so many times the usual way back before its deadline: the rest of the way, through gRPC and to the caller,
is about as long, and not always the usual. At most such a part of the time that is left."""

Watch = Callable[[bool, float], None]
"""Whether a call failed by a fault of the version, and how many seconds it took."""

UNKNOWN_SECONDS_A_ROW = 0.01
"""For the hint that QueueFull carries while no batch has run."""


class ServedModel:
    """What a request meets after it was resolved. Lives on the event loop, save `_execute`, which lanes call."""

    def __init__(
        self,
        card: Card,
        version: int,
        task: Task,
        runtime: Runtime,
        limits: BatchLimits,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        reference: Sequence[Tensors] | None = None,
        golden: Callable[[], Sequence[GoldenItem]] = tuple,
        *,
        name: str = "",
        record: CheckRecord | None = None,
    ) -> None:
        """`golden` reads the golden items of a tuned version; `record` has its held-out examples. `name` where it is served under
        another name than the card's."""
        self.card = card
        self.name = name or card.name
        self.record = record or CheckRecord(None)
        self.version = version
        self.task = task
        self.reference = reference
        """What the network answers to the probes in fp32; None where nothing may take its place."""
        self.evidence: TierReport | None = None
        """Of making it faster, once that was tried."""
        self.note = ""
        """Why it runs otherwise than its options say; empty where it does not."""
        self.decisions: Decisions | None = None
        """How a tuned version decides on what runs it now, against fp32; None where that was not measured, or runs in fp32."""
        self.golden = golden
        self.watch: Watch | None = None
        """Told of every call that ended, while traffic is split between two versions."""
        self._slot = RuntimeHandle(runtime)
        self.limits = limits
        self.rows_in_flight = 0
        self.room = PrioritySemaphore(PREPARED_AHEAD * limits.max_batch_size)
        """Held by whoever has raw instances prepared, from before preprocessing until their rows are answered. Counts what one
        call prepares: a photo or a recording, or a chunk of texts, of which even a full one is small."""
        self.coming = PendingRows()
        """Rows inside that are still prepared, or wait to be."""
        self._recorder = recorder
        self._scheduler = scheduler
        self._empty = asyncio.Event()
        self._empty.set()
        self._reply_s = 0.0  # from the end of a batch to where its calls go on: the event loop has others to serve
        self._network: ScheduledNetwork = scheduler.add(
            self.name, version, limits, _weakly(self._execute), variable_length=card.batching.length_of is not None
        )
        self._network.use_cost(_key(runtime))

    @property
    def runtime(self) -> Runtime:
        """What the next batch will run in."""
        return self._slot.current

    @property
    def preparer(self) -> ServedModel:
        """Whose preprocessing a call shares with others."""
        return self

    def enter(
        self,
        rows: int,
        deadline: float = math.inf,
        priority: int = 0,
        length: float | None = None,
        name: str = "",
    ) -> None:
        """Lets a request of `rows` in, or raises QueueFull, or TooLate where the work ahead leaves it no time. Whoever entered
        must `leave`. `length`: of each row, where that is known. `name`: of the model that the caller knows, where that is a
        head on this one.

        A request larger than the whole limit gets in when nobody else is: it is split into batches, not refused.
        """
        if self.rows_in_flight:
            beyond = self.rows_in_flight + rows - self.limits.max_queue_size
            if beyond > 0:
                raise QueueFull(
                    name or self.name, self.rows_in_flight, self.limits.max_queue_size, self._seconds_for(beyond)
                )
        preparing = self.coming.before(self.claim(deadline, priority)) if self.coming else 0
        late_s = self._network.refuse(rows, self._in_time_for(deadline), priority, preparing, length)
        if late_s is not None:
            raise TooLate(late_s if late_s < math.inf else None)
        self.rows_in_flight += rows
        self._empty.clear()

    def claim(self, deadline: float, priority: int) -> float:
        """By what rows that come now are ordered, from before they are prepared until they run."""
        return effective_deadline(self._in_time_for(deadline), time.monotonic(), priority)

    def leave(self, rows: int) -> None:
        """A request that entered is answered or gone."""
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self._empty.set()

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        told: Told | None = None,
        came: Arrival | None = None,
    ) -> Submission:
        """Queues rows for the device. `priority`: 1 (first) to 9 (last), 0 for the usual. `told` is called with the
        outcomes. `came`: when their request did, with its `claim`."""
        return self._network.submit(items, self._in_time_for(deadline), priority, told, came)

    def _in_time_for(self, deadline: float) -> float:
        """When the device must be done so that the answer reaches its caller by the deadline."""
        left_s = deadline - time.monotonic()
        return deadline - min(REPLIES * self._reply_s, LARGEST_RESERVE * left_s) if left_s > 0 else deadline

    def replied(self, seconds: float) -> None:
        """How long after its batch had ended a call went on."""
        self._reply_s += (seconds - self._reply_s) / 32

    def _seconds_for(self, rows: int) -> float:
        """In about how long so many places will be free."""
        return max(LEAST_RETRY_S, rows * (self._network.seconds_a_row or UNKNOWN_SECONDS_A_ROW))

    def use(self, runtime: Runtime) -> None:
        """From the next batch on this runtime runs them, and its costs are learned apart. The one before is freed once the
        batches that run in it have ended."""
        self._slot.exchange(runtime)
        self._network.use_cost(_key(runtime))

    def learn(self, rows: int, length: int, seconds: float) -> None:
        """What a batch took in warming up, so that the first callers are not met with ignorance."""
        self._network.learn(rows, length, seconds)

    @property
    def queue_depth(self) -> int:
        """Rows that wait for the device."""
        return self._network.depth

    def set_limits(self, limits: BatchLimits) -> None:
        """New limits for whoever comes from now on; those inside are not sent away."""
        self.limits = limits
        self.room.resize(PREPARED_AHEAD * limits.max_batch_size)
        self._network.set_limits(limits)

    async def idle(self) -> None:
        """Returns once nobody is inside, if only for a moment."""
        await self._empty.wait()

    async def close(self) -> None:
        """Waits for those inside, then gives up the queue. Nobody may be admitted any more. The runtime is still to be freed."""
        await self._empty.wait()
        self._scheduler.remove(self._network)

    def _execute(self, items: Sequence[Item]) -> list[Row | ZooError]:
        """In a lane: collate, run, split. Whatever it raises, the scheduler sorts out."""
        with self._slot.borrow() as runtime:  # another may take its place meanwhile
            return self._execute_in(runtime, items)

    def _execute_in(self, runtime: Runtime, items: Sequence[Item]) -> list[Row | ZooError]:
        longest = max(item.length for item in items)
        predicted_s = self._network.predicted_s(len(items), longest)
        started = time.monotonic()
        try:
            tensors, padding_ratio = self.task.collate(items, self._length_for(longest))
            collated = time.monotonic()
            outputs = runtime.run(tensors)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory from None
        executed = time.monotonic()
        rows = answers(self.task, outputs, items)
        finished = time.monotonic()
        self._recorder.batch_executed(
            self.name,
            self.version,
            runtime.device,
            len(items),
            padding_ratio,
            collated - started,
            executed - collated,
            finished - executed,
            predicted_s,
        )
        report = BatchReport(started, finished, len(items), padding_ratio, runtime.device, runtime.precision)
        return [row if isinstance(row, ZooError) else Row(row, report) for row in rows]

    def _length_for(self, longest: int) -> int:
        """What rows are padded to at least. The tier that a batch runs in may have just changed; any length is right in any."""
        evidence = self.evidence
        quick = evidence is not None and evidence.tier == "compiled" and evidence.length_step
        return padded_length(longest, self.card.batching.max_length) if quick else 0


def _weakly(execute: Execute) -> Execute:
    """`execute` without keeping its model alive: they would keep each other, and an unloaded one would wait for the collector."""
    reference = weakref.WeakMethod(execute)

    def run(items: Sequence[Item]) -> Sequence[Row | ZooError]:
        method = reference()
        if method is None:  # unloaded before its last batch began, which nobody waits for
            raise InternalError
        return method(items)

    return run


def _key(runtime: Runtime) -> tuple[str, str]:
    """What a cost holds for: how a network runs, and in which numbers."""
    return runtime.tier, runtime.precision

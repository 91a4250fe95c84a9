"""The queues of one device, and the threads' meeting point: the event loop submits rows, the device's lanes take batches.

A lane asks for its next batch when it is free, so a batch closes as late as it can, and a busy event loop does not leave the
device idle. The outcomes of a batch go back to the event loop in one call.

    event loop ── submit ──► NetworkQueue ── next_job ──► lane thread ── call_soon_threadsafe ──► PendingResult.fill

One lock guards all queues of the device. It is held for bookkeeping only, never while a network runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from service.errors import DeadlineExceeded, Draining, InternalError, TooLate, ZooError
from service.observability.log import logger
from service.scheduler.batch_runner import BatchRunner, Execute, Outcome
from service.scheduler.cost import Cost, LearnedCost
from service.scheduler.pending_result import OnDone, PendingResult
from service.scheduler.policy import LEAST_RETRY_S, Batch, BatchLimits, DevicePolicy, NetworkQueue, QueuedRow
from service.scheduler.queued_row import Arrival, effective_deadline
from service.types import Item, Row

log = logger(__name__)


class Submission:
    """Rows of one request between their submission and their outcomes. The caller awaits `result()` or gave `on_done`."""

    __slots__ = ("_network", "_pending", "_rows")

    def __init__(self, network: ScheduledNetwork, pending: PendingResult, rows: list[QueuedRow]) -> None:
        self._network = network
        self._pending = pending
        self._rows = rows

    async def result(self) -> Sequence[Row | ZooError]:
        """One outcome for each item, in order. Cancelling the wait drops rows that have not started."""
        try:
            return await self._pending.wait()
        except asyncio.CancelledError:
            self._network.abandon(self._rows)
            raise

    def cancel(self) -> None:
        """The caller has left: rows that have not started do not run, and `on_done` is not called."""
        self._pending.cancel()
        self._network.abandon(self._rows)


class ScheduledNetwork:
    """One network on the device: its queue, and what runs its batches."""

    def __init__(self, scheduler: DeviceScheduler, queue: NetworkQueue, runner: BatchRunner) -> None:
        self._scheduler = scheduler
        self.queue = queue
        self.runner = runner
        self._costs: dict[object, Cost] = {}

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        on_done: OnDone | None = None,
        arrival: Arrival | None = None,
    ) -> Submission:
        """Queues rows. `deadline` is absolute on the scheduler's clock; `priority` is 1 (first) to 9 (last), or 0 for the
        default.

        Call from the event loop; does not block. `on_done` is called with the outcomes, in place of `result()`. `arrival`: of
        rows whose request arrived before now; they keep its effective deadline, whatever the priority.
        """
        return self._scheduler.submit(self, items, deadline, priority, on_done, arrival)

    def refuse(
        self, rows: int, deadline: float, priority: int = 0, preparing: int = 0, length: float | None = None
    ) -> float | None:
        """None where `rows` may be admitted; where they would be late, seconds after which they would not be, infinity for never.

        `preparing` rows are on their way to the queue before them. `length`: of each row, where that is known.
        """
        return self._scheduler.refuse(self, rows, deadline, priority, preparing, length)

    def effective_deadline(self, deadline: float, priority: int) -> float:
        """The key that orders rows which arrive now; see `policy.py`."""
        return self._scheduler.effective_deadline(deadline, priority)

    def abandon(self, rows: Sequence[QueuedRow]) -> None:
        """The caller of these rows has left; rows that have not started will not run."""
        self._scheduler.abandon(self, rows)

    def set_limits(self, limits: BatchLimits) -> None:
        """New limits, at once; rows that wait stay."""
        self._scheduler.set_limits(self, limits)

    def use_cost(self, key: object) -> None:
        """From the next batch on costs are learned, and looked up, for what `key` names: a precision, a way of running."""
        self._scheduler.use_cost(self, self._costs.setdefault(key, LearnedCost()))

    def learn(self, rows: int, length: int, seconds: float) -> None:
        """Teaches the cost what a batch took that ran outside the queue, as in warming up."""
        self._scheduler.learn(self, rows, length, seconds)

    def predicted_s(self, rows: int, length: int) -> float | None:
        """Predicted seconds of a batch; None while that is not known. From any thread."""
        law = self.queue.cost.law
        return None if law is None else law.seconds(rows, length)

    @property
    def seconds_a_row(self) -> float | None:
        """Device time of a row in a full batch of the usual length; None while that is not known."""
        most = self.queue.limits.max_batch_size
        seconds = self.predicted_s(most, round(self.queue.usual_length))
        return None if seconds is None else seconds / most / self._scheduler.lanes

    @property
    def depth(self) -> int:
        """Rows that wait."""
        return len(self.queue)


class DeviceScheduler:
    """Owns the queues of one device. Constructed on the event loop that its outcomes go to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
        lanes: int = 1,
    ) -> None:
        """`lanes`: how many threads will ask for jobs."""
        self.lanes = lanes
        self._loop = loop
        self._clock = clock
        self._work = threading.Condition()  # guards everything below
        self._policy = DevicePolicy(lanes)
        self._networks: dict[NetworkQueue, ScheduledNetwork] = {}
        self._stopped = False
        self._wake_due = False  # belongs to the event loop; the lock does not guard it

    def add(
        self, name: str, version: int, limits: BatchLimits, execute: Execute, *, variable_length: bool = False
    ) -> ScheduledNetwork:
        """Opens a queue for a version of a model. `variable_length`: its rows differ in length, and padding them costs time."""
        with self._work:
            queue = self._policy.add(name, limits, LearnedCost(), variable_length)
            runner = BatchRunner(queue, version, execute, self._clock, self._work)
            network = self._networks[queue] = ScheduledNetwork(self, queue, runner)
        return network

    def remove(self, network: ScheduledNetwork) -> None:
        """Closes a network's queue; rows still in it fail. Batches that already run end as they would."""
        with self._work:
            self._networks.pop(network.queue, None)
            left = self._policy.remove(network.queue)
        self._deliver([(row, InternalError()) for row in left])

    def submit(
        self,
        network: ScheduledNetwork,
        items: Sequence[Item],
        deadline: float,
        priority: int,
        on_done: OnDone | None,
        arrival: Arrival | None = None,
    ) -> Submission:
        """See ScheduledNetwork.submit. Rows for a queue that was closed fail at once: no lane would ever take them."""
        pending = PendingResult(len(items), on_done)
        now = self._clock()
        queue = network.queue
        with self._work:
            rows = [queue.push(item, pending, i, deadline, now, priority, arrival) for i, item in enumerate(items)]
            refused = [] if queue in self._networks else queue.empty()
        if not self._wake_due:
            # Once for all requests of this turn of the loop: they can share a batch, and a lane that woke now would only wait
            # for the interpreter's lock until the turn is over.
            self._wake_due = True
            self._loop.call_soon(self._wake)
        if refused:
            self._deliver([(row, Draining() if self._stopped else InternalError()) for row in refused])
        return Submission(network, pending, rows)

    def _wake(self) -> None:
        self._wake_due = False
        with self._work:
            self._work.notify()

    def refuse(
        self,
        network: ScheduledNetwork,
        rows: int,
        deadline: float,
        priority: int,
        preparing: int,
        length: float | None,
    ) -> float | None:
        """See ScheduledNetwork.refuse."""
        with self._work:
            return self._policy.refuse(network.queue, rows, deadline, self._clock(), priority, preparing, length)

    def effective_deadline(self, deadline: float, priority: int) -> float:
        """See ScheduledNetwork.effective_deadline."""
        return effective_deadline(deadline, self._clock(), priority)

    def abandon(self, network: ScheduledNetwork, rows: Sequence[QueuedRow]) -> None:
        """See ScheduledNetwork.abandon."""
        with self._work:
            for row in rows:
                network.queue.drop(row)

    def set_limits(self, network: ScheduledNetwork, limits: BatchLimits) -> None:
        """See ScheduledNetwork.set_limits."""
        with self._work:
            network.queue.set_limits(limits)
            self._work.notify()  # a batch may be full now, or a delay over

    def use_cost(self, network: ScheduledNetwork, cost: Cost) -> None:
        """See ScheduledNetwork.use_cost."""
        with self._work:
            network.queue.cost = cost

    def learn(self, network: ScheduledNetwork, rows: int, length: int, seconds: float) -> None:
        """See ScheduledNetwork.learn."""
        with self._work:
            network.queue.cost.observe(rows, length, seconds)

    def longest_wait_s(self) -> float:
        """How long the oldest row has waited for the device. Rows without a deadline, for which no caller waits, do not count."""
        with self._work:
            now = self._clock()
            waiting = (row for queue in self._networks for _, _, row in queue.order)
            oldest = min((row.queued_at for row in waiting if row.deadline != float("inf")), default=now)
        return max(0.0, now - oldest)

    @property
    def busy(self) -> bool:
        """Whether a row waits or a batch runs. From any thread."""
        with self._work:
            return self._policy.busy

    def next_job(self) -> Callable[[], None] | None:
        """Blocks a lane until there is a batch to run, and gives the job; None when the device stops."""
        with self._work:
            while not self._stopped:
                now = self._clock()
                step = self._policy.next(now)
                if isinstance(step, Batch):
                    network = self._networks[step.queue]
                    if self._policy.waiting:
                        self._work.notify()  # another lane may take the rows that this batch had no room for
                    return partial(self._run, network, step)
                self._work.wait(None if step == float("inf") else max(0.0, step - now))
        return None

    def stop(self) -> None:
        """Ends the lanes. Rows that still wait do not run; their outcome is Draining."""
        with self._work:
            self._stopped = True
            left = [row for queue in list(self._networks) for row in self._policy.remove(queue)]
            self._networks.clear()
            self._work.notify_all()
        self._deliver([(row, Draining()) for row in left])

    def _run(self, network: ScheduledNetwork, batch: Batch) -> None:
        """In a lane: runs a batch and delivers the outcome of every row. Never raises."""
        if batch.expired or batch.too_late:  # delivered at once: what runs now does not change them
            refused: list[Outcome] = []
            refused += [(row, DeadlineExceeded("while the request waited for the device")) for row in batch.expired]
            refused += [(row, _too_late(batch, row)) for row in batch.too_late]
            self._deliver(refused)
        if batch.rows:
            outcomes, ok = network.runner.run(batch.rows)
            with self._work:
                self._policy.finished(batch, self._clock(), ok)
            self._deliver(outcomes)

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        try:
            self._loop.call_soon_threadsafe(_fill, outcomes)
        except RuntimeError:  # the loop has closed: the server is gone, and so are all callers
            log.debug("outcomes after the loop closed", rows=len(outcomes))


def _fill(outcomes: Sequence[Outcome]) -> None:
    for row, outcome in outcomes:
        pending = row.owner
        assert isinstance(pending, PendingResult)
        try:
            pending.fill(row.index, outcome)
        except Exception:  # of one caller's `on_done`: the other rows of the batch get their outcomes all the same
            log.exception("an outcome could not be delivered")


def _too_late(batch: Batch, row: QueuedRow) -> TooLate:
    can_wait_s = row.deadline - row.arrived_at - batch.alone_s(row)
    if can_wait_s < 0.0:
        return TooLate(None)  # it would have been late on an idle device as well, and so will be every later request
    taken_s = batch.predicted_s or 0.0 if batch.rows else 0.0  # the lane is taken by the rows that run instead
    return TooLate(max(LEAST_RETRY_S, batch.late_by_s(row), taken_s - can_wait_s))


__all__ = ["DeviceScheduler", "Execute", "ScheduledNetwork", "Submission"]

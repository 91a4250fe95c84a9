"""The queues of one device, and the threads' meeting point: the event loop submits rows, device lanes take batches.

A lane asks for its next batch at the moment it is free, so a batch closes as late as it can, and a busy event loop never
leaves the device idle. Answers go back in one hop per batch.

    event loop ── submit ──► NetworkQueue ── next_job ──► lane thread ── call_soon_threadsafe ──► PendingResult.fill

One lock guards all queues of the device; it is held for bookkeeping only, never while a network runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from service.errors import DeadlineExceeded, Draining, InternalError, TooLate, ZooError
from service.observability.log import logger
from service.scheduler.batch_runner import Execute, Outcome, Runner
from service.scheduler.cost import Cost, LearnedCost
from service.scheduler.pending_result import PendingResult, Told
from service.scheduler.policy import LEAST_RETRY_S, Batch, BatchLimits, DevicePolicy, NetworkQueue, QueuedRow
from service.scheduler.queued_row import Arrival
from service.types import Item, Row

log = logger(__name__)


class Submission:
    """Rows of one request on their way through a queue. Await `result()` or be told; leaving early drops what has not started."""

    __slots__ = ("_entries", "_network", "_ticket")

    def __init__(self, network: ScheduledNetwork, ticket: PendingResult, entries: list[QueuedRow]) -> None:
        self._network = network
        self._ticket = ticket
        self._entries = entries

    async def result(self) -> Sequence[Row | ZooError]:
        """One outcome for each item, in order."""
        try:
            return await self._ticket.wait()
        except asyncio.CancelledError:
            self._network.abandon(self._entries)
            raise

    def leave(self) -> None:
        """For whoever is told: nobody waits any more."""
        self._ticket.leave()
        self._network.abandon(self._entries)


class ScheduledNetwork:
    """One network's place on the device: its queue and how its batches run."""

    def __init__(self, scheduler: DeviceScheduler, queue: NetworkQueue, runner: Runner) -> None:
        self._scheduler = scheduler
        self.queue = queue
        self.runner = runner
        self._costs: dict[object, Cost] = {}

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        told: Told | None = None,
        came: Arrival | None = None,
    ) -> Submission:
        """Queues rows. `deadline` is absolute on the scheduler's clock; `priority` is 1 (first) to 9 (last), or 0 for the usual.

        Call from the event loop; does not block. `told` takes the place of `result()`: it is called with the outcomes. `came`:
        of rows whose request came before now; its claim is then theirs, whatever the priority.
        """
        return self._scheduler.submit(self, items, deadline, priority, told, came)

    def refuse(
        self, rows: int, deadline: float, priority: int = 0, preparing: int = 0, length: float | None = None
    ) -> float | None:
        """None where `rows` may come in; where they would be late, seconds after which they would not be, infinity for never.

        `preparing` rows are on their way to the queue before them. `length`: of each, where that is known already.
        """
        return self._scheduler.refuse(self, rows, deadline, priority, preparing, length)

    def abandon(self, entries: Sequence[QueuedRow]) -> None:
        """Their caller has left; rows that have not started will not run."""
        self._scheduler.abandon(self, entries)

    def set_limits(self, limits: BatchLimits) -> None:
        """New limits, at once; what waits stays."""
        self._scheduler.set_limits(self, limits)

    def use_cost(self, key: object) -> None:
        """From the next batch on costs are learned, and looked up, for what `key` names: a precision, a way of running."""
        self._scheduler.use_cost(self, self._costs.setdefault(key, LearnedCost()))

    def learn(self, rows: int, length: int, seconds: float) -> None:
        """What a batch took that ran elsewhere, as in warming up."""
        self._scheduler.learn(self, rows, length, seconds)

    def predicted_s(self, rows: int, length: int) -> float | None:
        """What a batch should take; None while that is not known. From any thread."""
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
    """Owns the queues of one device. Constructed on the event loop it will answer to."""

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
        self._wake_due = False  # the event loop's own; the lock does not guard it

    def add(
        self, name: str, version: int, limits: BatchLimits, execute: Execute, *, variable_length: bool = False
    ) -> ScheduledNetwork:
        """Opens a queue for a version of a model. `variable_length`: its rows differ in length, and padding them costs time."""
        with self._work:
            queue = self._policy.add(name, limits, LearnedCost(), variable_length)
            runner = Runner(queue, version, execute, self._clock, self._work)
            network = self._networks[queue] = ScheduledNetwork(self, queue, runner)
        return network

    def remove(self, network: ScheduledNetwork) -> None:
        """Closes a network's queue; rows still in it fail. Its batches that already run end as they would."""
        with self._work:
            self._networks.pop(network.queue, None)
            left = self._policy.remove(network.queue)
        self._answer([(entry, InternalError()) for entry in left])

    def submit(
        self,
        network: ScheduledNetwork,
        items: Sequence[Item],
        deadline: float,
        priority: int,
        told: Told | None,
        came: Arrival | None = None,
    ) -> Submission:
        """See ScheduledNetwork.submit. Rows for a queue that was closed fail at once: no lane would ever take them."""
        ticket = PendingResult(len(items), told)
        now = self._clock()
        queue = network.queue
        with self._work:
            entries = [queue.push(item, ticket, i, deadline, now, priority, came) for i, item in enumerate(items)]
            refused = [] if queue in self._networks else queue.empty()
        if not self._wake_due:
            # Once for all requests that this turn of the loop brings: they can ride together, and a lane that woke now
            # would only stand in line for the interpreter's lock until the turn is over.
            self._wake_due = True
            self._loop.call_soon(self._wake)
        if refused:
            self._answer([(entry, Draining() if self._stopped else InternalError()) for entry in refused])
        return Submission(network, ticket, entries)

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

    def abandon(self, network: ScheduledNetwork, entries: Sequence[QueuedRow]) -> None:
        """See ScheduledNetwork.abandon."""
        with self._work:
            for entry in entries:
                network.queue.drop(entry)

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
        """How long the oldest row has waited for the device; rows without a deadline, which nobody waits for, are not counted."""
        with self._work:
            now = self._clock()
            waiting = (entry for queue in self._networks for _, _, entry in queue.order)
            oldest = min((entry.arrival for entry in waiting if entry.deadline != float("inf")), default=now)
        return max(0.0, now - oldest)

    def next_job(self) -> Callable[[], None] | None:
        """Blocks a lane until there is a batch to run, and gives it; None when the device stops."""
        with self._work:
            while not self._stopped:
                now = self._clock()
                step = self._policy.next(now)
                if isinstance(step, Batch):
                    network = self._networks[step.queue]
                    if self._policy.waiting:
                        self._work.notify()  # another lane may take what this batch had no room for
                    return partial(self._run, network, step)
                self._work.wait(None if step == float("inf") else max(0.0, step - now))
        return None

    def stop(self) -> None:
        """Sends the lanes home. What still waits is not run, and its callers are told so."""
        with self._work:
            self._stopped = True
            left = [entry for queue in list(self._networks) for entry in self._policy.remove(queue)]
            self._networks.clear()
            self._work.notify_all()
        self._answer([(entry, Draining()) for entry in left])

    def _run(self, network: ScheduledNetwork, batch: Batch) -> None:
        """In a lane: runs a batch and sends every row its own outcome. Never raises."""
        if batch.late or batch.hopeless:  # told at once: nothing that runs now changes it
            refused: list[Outcome] = []
            refused += [(entry, DeadlineExceeded("while the request waited for the device")) for entry in batch.late]
            refused += [(entry, _too_late(batch, entry)) for entry in batch.hopeless]
            self._answer(refused)
        if batch.rows:
            outcomes, ok = network.runner.run(batch.rows)
            with self._work:
                self._policy.finished(batch, self._clock(), ok)
            self._answer(outcomes)

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        try:
            self._loop.call_soon_threadsafe(_fill, outcomes)
        except RuntimeError:  # the loop has closed: the server is gone, and so are all callers
            log.debug("answers after the loop closed", rows=len(outcomes))


def _fill(outcomes: Sequence[Outcome]) -> None:
    for entry, outcome in outcomes:
        ticket = entry.ticket
        assert isinstance(ticket, PendingResult)
        try:
            ticket.fill(entry.index, outcome)
        except Exception:  # of whoever is told: the others of the batch are to have their answers all the same
            log.exception("an answer could not be given")


__all__ = ["DeviceScheduler", "Execute", "ScheduledNetwork", "Submission"]


def _too_late(batch: Batch, entry: QueuedRow) -> TooLate:
    can_wait_s = entry.deadline - entry.came - batch.alone_s(entry)
    if can_wait_s < 0.0:
        return TooLate(None)  # it would have been late on an idle device as well, and so will be every later call
    taken_s = batch.predicted_s or 0.0 if batch.rows else 0.0  # the lane, by the rows that go instead
    return TooLate(max(LEAST_RETRY_S, batch.late_s(entry), taken_s - can_wait_s))

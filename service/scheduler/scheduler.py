"""The queues of one device, and the threads' meeting point: the event loop submits rows, device lanes take batches.

A lane asks for its next batch at the moment it is free, so a batch closes as late as it can, and a busy event loop never
leaves the device idle. Answers go back in one hop per batch.

    event loop ── submit ──► NetworkQueue ── next_job ──► lane thread ── call_soon_threadsafe ──► Ticket.fill

One lock guards all queues of the device; it is held for bookkeeping only, never while a network runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from service.errors import DeadlineExceeded, Draining, InternalError, ZooError
from service.observability.log import logger
from service.scheduler.policy import Batch, Entry, Limits, NetworkQueue, choose
from service.scheduler.ticket import Ticket
from service.types import Item, Row

log = logger(__name__)

Execute = Callable[[Sequence[Item]], Sequence[Row]]
"""Runs one batch and gives one row for each item, in order. Called in a lane's thread; may raise anything."""


class Submission:
    """Rows of one request on their way through a queue. Await `result()`; leaving early drops what has not started."""

    __slots__ = ("_entries", "_network", "_ticket")

    def __init__(self, network: ScheduledNetwork, ticket: Ticket, entries: list[Entry]) -> None:
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


class ScheduledNetwork:
    """One network's place on the device: its queue and how its batches run."""

    def __init__(self, scheduler: DeviceScheduler, queue: NetworkQueue, version: int, execute: Execute) -> None:
        self._scheduler = scheduler
        self.queue = queue
        self.version = version
        self.execute = execute

    def submit(self, items: Sequence[Item], deadline: float) -> Submission:
        """Queues rows. `deadline` is absolute on the scheduler's clock. Call from the event loop; does not block."""
        return self._scheduler.submit(self, items, deadline)

    def abandon(self, entries: Sequence[Entry]) -> None:
        """Their caller has left; rows that have not started will not run."""
        self._scheduler.abandon(self, entries)

    @property
    def depth(self) -> int:
        """Rows that wait."""
        return len(self.queue)


class DeviceScheduler:
    """Owns the queues of one device. Constructed on the event loop it will answer to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._work = threading.Condition()  # guards everything below
        self._networks: dict[NetworkQueue, ScheduledNetwork] = {}
        self._stopped = False
        self._wake_due = False  # the event loop's own; the lock does not guard it

    def add(self, name: str, version: int, limits: Limits, execute: Execute) -> ScheduledNetwork:
        """Opens a queue for a version of a model."""
        network = ScheduledNetwork(self, NetworkQueue(name, limits), version, execute)
        with self._work:
            self._networks[network.queue] = network
        return network

    def remove(self, network: ScheduledNetwork) -> None:
        """Closes a network's queue; rows still in it fail. Its batches that already run end as they would."""
        with self._work:
            self._networks.pop(network.queue, None)
            left = _empty(network.queue)
        self._answer([(entry, InternalError()) for entry in left])

    def submit(self, network: ScheduledNetwork, items: Sequence[Item], deadline: float) -> Submission:
        """See ScheduledNetwork.submit. Rows for a queue that was closed fail at once: no lane would ever take them."""
        ticket = Ticket(len(items), self._loop)
        now = self._clock()
        with self._work:
            entries = [network.queue.push(item, ticket, i, deadline, now) for i, item in enumerate(items)]
            refused = [] if network.queue in self._networks else _empty(network.queue)
        if not self._wake_due:
            # Once for all requests that this turn of the loop brings: they can ride together, and a lane that woke now
            # would only stand in line for the interpreter's lock until the turn is over.
            self._wake_due = True
            self._loop.call_soon(self._wake)
        self._answer([(entry, Draining() if self._stopped else InternalError()) for entry in refused])
        return Submission(network, ticket, entries)

    def _wake(self) -> None:
        self._wake_due = False
        with self._work:
            self._work.notify()

    def abandon(self, network: ScheduledNetwork, entries: Sequence[Entry]) -> None:
        """See ScheduledNetwork.abandon."""
        with self._work:
            for entry in entries:
                network.queue.drop(entry)

    def next_job(self) -> Callable[[], None] | None:
        """Blocks a lane until there is a batch to run, and gives it; None when the device stops."""
        with self._work:
            while not self._stopped:
                now = self._clock()
                chosen = choose(self._networks, now)
                if isinstance(chosen, NetworkQueue):
                    batch = chosen.take(now)
                    network = self._networks[chosen]
                    if any(map(len, self._networks)):
                        self._work.notify()  # another lane may take what this batch had no room for
                    return lambda: self._run(network, batch)
                self._work.wait(None if chosen == float("inf") else max(0.0, chosen - now))
        return None

    def stop(self) -> None:
        """Sends the lanes home. What still waits is not run, and its callers are told so."""
        with self._work:
            self._stopped = True
            left = [entry for queue in self._networks for entry in _empty(queue)]
            self._networks.clear()
            self._work.notify_all()
        self._answer([(entry, Draining()) for entry in left])

    def _run(self, network: ScheduledNetwork, batch: Batch) -> None:
        """In a lane: runs a batch and sends every row its own outcome. Never raises."""
        outcomes: list[tuple[Entry, Row | ZooError]] = [
            (entry, DeadlineExceeded("while the request waited for the device")) for entry in batch.late
        ]
        outcomes += self._execute(network, batch.rows)
        self._answer(outcomes)

    def _execute(
        self, network: ScheduledNetwork, rows: Sequence[tuple[Entry, Item]]
    ) -> list[tuple[Entry, Row | ZooError]]:
        """Runs rows together; a batch that raises is halved until the guilty row stands alone."""
        if not rows:
            return []
        try:
            results = network.execute([item for _, item in rows])
            if len(results) != len(rows):
                raise RuntimeError(f"{len(results)} outputs for {len(rows)} inputs")
            return [(entry, result) for (entry, _), result in zip(rows, results, strict=True)]
        except ZooError as error:
            if len(rows) == 1:
                return [(rows[0][0], error)]
        except Exception:
            if len(rows) == 1:
                reference = uuid.uuid4().hex[:12]
                log.exception(
                    "execution failed", network=network.queue.name, version=network.version, reference=reference
                )
                return [(rows[0][0], InternalError(reference))]
            log.warning("a batch failed and is halved", network=network.queue.name, rows=len(rows))
        half = len(rows) // 2
        return self._execute(network, rows[:half]) + self._execute(network, rows[half:])

    def _answer(self, outcomes: Sequence[tuple[Entry, Row | ZooError]]) -> None:
        if not outcomes:
            return
        try:
            self._loop.call_soon_threadsafe(_fill, outcomes)
        except RuntimeError:  # the loop has closed: the server is gone, and so are all callers
            log.debug("answers after the loop closed", rows=len(outcomes))


def _empty(queue: NetworkQueue) -> list[Entry]:
    """Takes every row out of a queue that no lane will look at again."""
    left: list[Entry] = []
    while len(queue):
        batch = queue.take(float("-inf"))
        left += [*batch.late, *(entry for entry, _ in batch.rows)]
    return left


def _fill(outcomes: Sequence[tuple[Entry, Row | ZooError]]) -> None:
    for entry, outcome in outcomes:
        ticket = entry.ticket
        assert isinstance(ticket, Ticket)
        ticket.fill(entry.index, outcome)

"""What runs next on a device: pure decisions under a given clock, without threads, torch or sleep.

    policy = DevicePolicy(lanes=2)
    queue  = policy.add("m", BatchLimits(max_batch_size=8, max_queue_size=512), LearnedCost(), variable_length=True)
    wait_s = policy.refuse(queue, rows, deadline, now)      # None: admit; else seconds after which to try again
    row    = queue.push(item, owner, index, deadline, now, priority=0)
    step   = policy.next(now)                               # a Batch to run, or when to look again (infinity: on arrival)
    policy.finished(step, now)                              # its lane is free; teaches the cost unless ok=False
    queue.drop(row)                                         # its caller left
    queue.memory.exceeded(rows, length)                     # so many rows together did not fit
    queue.set_limits(limits)                                # at any time

All times are seconds on one clock. Nothing here is thread-safe: the owner holds a lock (`scheduler.py`), or has one thread
(a simulator).

**Between rows of one network**: by effective deadline, then by age. The effective deadline of a row is its deadline, but at most
PATIENCE_S after its arrival, so that rows with near deadlines cannot pass a row with a far one for ever. Each step of priority
moves it by PRIORITY_STEP_S, so rows of a higher priority pass a row only if they arrive within that time after it.

**Between networks**: each queue counts the device time that its batches got, divided by its weight (start-time fair queueing:
Goyal, Vin and Cheng, 1996). The queue with the least runs next; equal queues by effective deadline, then by age. A queue that
was empty starts level with the others: it saves no credit. But where the first row of some queue would be late after one more
turn of all queues, the earliest effective deadline wins (earliest deadline first: Liu and Layland, 1973), as long as its queue
is less than BORROW_S ahead of the least served. So near deadlines win, and a model whose deadlines are always near gets no more
than its share and BORROW_S.

**How many rows a batch takes**: no more than a lane's even share of the rows in flight (`_share`), so that lanes stay alike.

**Which rows share a batch**: `queue.py`, `packing.py`. **How long a batch takes**: `cost.py`. **What fits**: `memory_limit.py`.
**How long an idle device waits for a fuller batch**, where an operator wants that: `delay.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.scheduler.cost import Cost, Law
from service.scheduler.queue import PROBE_S, Batch, BatchLimits, NetworkQueue
from service.scheduler.queued_row import (
    PATIENCE_S,
    PRIORITY_STEP_S,
    QueuedRow,
    effective_deadline,
)
from service.types import DEFAULT_PRIORITY, LAST_PRIORITY

BORROW_S = 0.5
"""Device time per weight that near deadlines may take ahead of a queue's share."""

NEAR_S = 0.01
"""A row is near its deadline when one turn of all queues and this time would make it late."""

LEAST_RETRY_S = 0.01
"""A refused request is told to try again no sooner than this."""

INFINITY = float("inf")


class DevicePolicy:
    """The queues of one device, and the batches that its lanes run."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._queues: dict[NetworkQueue, None] = {}
        self._running: dict[Batch, tuple[float, float]] = {}  # batch → when it should end, device time charged for it
        self._floor = 0.0  # virtual_time_s of the least served queue that waits; never falls

    def add(self, name: str, limits: BatchLimits, cost: Cost, variable_length: bool = False) -> NetworkQueue:
        """Opens a queue. `variable_length`: its rows differ in length and are padded to the longest row of their batch."""
        queue = NetworkQueue(name, limits, cost, variable_length)
        self._queues[queue] = None
        return queue

    def remove(self, queue: NetworkQueue) -> list[QueuedRow]:
        """Closes a queue and gives the rows that were in it. Batches of it that run may still be `finished`."""
        self._queues.pop(queue, None)
        return queue.empty()

    def __contains__(self, queue: NetworkQueue) -> bool:
        return queue in self._queues

    @property
    def queues(self) -> Iterable[NetworkQueue]:
        """The queues that are open."""
        return self._queues

    @property
    def waiting(self) -> bool:
        """Whether any row waits."""
        for queue in self._queues:  # noqa: SIM110 - any() with a generator takes three times as long
            if queue.order:
                return True
        return False

    @property
    def busy(self) -> bool:
        """Whether a row waits or a batch runs."""
        return bool(self._running) or self.waiting

    # ── what next ─────────────────────────────────────────────────────────────────────────────────────────────

    def next(self, now: float) -> Batch | float:
        """A batch for a lane that is free, or when to look again. A batch without rows needs no lane: its expired rows are only
        answered."""
        chosen = self.choose(now)
        if not isinstance(chosen, NetworkQueue):
            return chosen
        share = None if self.lanes == 1 else self._share(chosen)
        batch = chosen.take(now, device_is_idle=not self._running, share=share)
        if batch.rows:
            seconds = chosen.last_batch_s if batch.predicted_s is None else batch.predicted_s
            chosen.virtual_time_s += seconds / chosen.limits.weight
            chosen.usual_length += (batch.length - chosen.usual_length) * min(1.0, 0.02 * len(batch.rows))
            chosen.running += 1
            chosen.rows_running += len(batch.rows)
            self._running[batch] = (now + seconds, seconds)
        return batch

    def finished(self, batch: Batch, now: float, ok: bool = True) -> None:
        """A batch of `next` has left its lane. `ok=False`: it failed, so its time says nothing of later batches.

        Does nothing for a batch without rows, which had no lane.
        """
        if (known := self._running.pop(batch, None)) is None:
            return
        queue, seconds, charged = batch.queue, now - batch.started, known[1]
        queue.running -= 1
        queue.rows_running -= len(batch.rows)
        queue.virtual_time_s += (seconds - charged) / queue.limits.weight
        if ok:
            queue.last_batch_s = seconds
            batch.cost.observe(len(batch.rows), batch.length, seconds)
            queue.memory.fitted(len(batch.rows), batch.length)

    def _share(self, queue: NetworkQueue) -> int:
        """Rows of a batch when all rows of a network, those that run included, are spread evenly over the lanes that it gets.

        Callers that wait for an answer before they ask again come back together. If a lane took all rows, the next lane would
        find few, and large and tiny batches would alternate for ever, at the cost of both latency and rate.
        """
        busy = sum(1 for other in self._queues if other.order or other.running)
        lanes = max(1, self.lanes // busy)
        return -(-(len(queue.order) + queue.rows_running) // lanes)

    def choose(self, now: float) -> NetworkQueue | float:
        """The queue whose batch a free lane should run now, or when to look again."""
        look_again = INFINITY
        ready: list[NetworkQueue] = []
        for queue in self._queues:
            if not queue.order:
                queue.was_empty = True
                continue
            at = queue.ready_at()
            if at > now:
                look_again = min(look_again, at)
                continue
            if queue.was_empty:
                queue.was_empty = False
                queue.virtual_time_s = max(queue.virtual_time_s, self._floor)
            ready.append(queue)
        if not ready:
            return look_again
        if len(ready) == 1:
            self._floor = max(self._floor, ready[0].virtual_time_s)
            return ready[0]
        least = min(queue.virtual_time_s for queue in ready)
        self._floor = max(self._floor, least)
        due = now + NEAR_S + sum(queue.last_batch_s for queue in ready)

        def order(queue: NetworkQueue) -> tuple[bool, float, float, int]:
            effective, sequence, _ = queue.order[0]
            if effective <= due + queue.last_batch_s and queue.virtual_time_s < least + BORROW_S:
                return (False, 0.0, effective, sequence)
            return (True, queue.virtual_time_s, effective, sequence)

        return min(ready, key=order)

    # ── admission ─────────────────────────────────────────────────────────────────────────────────────────────

    def refuse(
        self,
        queue: NetworkQueue,
        rows: int,
        deadline: float,
        now: float,
        priority: int = 0,
        preparing: int = 0,
        length: float | None = None,
    ) -> float | None:
        """None to admit a request of `rows`; where it would be late, seconds after which it would not be: infinity where that
        is never.

        `preparing` rows go before it and are on their way to the queue. `length`: of its rows, where that is known; otherwise
        they count as rows of the usual length, which is wrong for short rows after long ones. An idle device with no pending rows
        never refuses a request; nor does any device while the cost is not known, or when nothing of this network ran for long
        (PROBE_S), because a refusal teaches nothing.
        """
        if not preparing and not queue.order and (not self._running or queue.may_probe(now)):
            return None
        law = queue.cost.law
        if law is not None and length is not None:
            if length > queue.cost.reach:
                return None
            rows = _as_usual(queue, law, rows, length)
        if law is None or self._surely_before(queue, law, rows + preparing, deadline, now):
            return None
        at = self.answered_at(queue, rows, deadline, now, priority, preparing)
        if at is None or at <= deadline:
            return None
        if now + _alone_s(queue, law, rows, self.lanes) > deadline:
            return INFINITY  # the load does not make it late: other requests must not pay for it, and waiting does not help
        queue.mark_overloaded(now)
        return max(LEAST_RETRY_S, at - deadline)

    def _surely_before(self, queue: NetworkQueue, law: Law, rows: int, deadline: float, now: float) -> bool:
        """Whether so many more rows are done by a far deadline, whatever their order: a quick check that is enough for most
        requests."""
        for other in self._queues:
            if other is not queue and (other.order or other.running):
                return False
        length = queue.usual_length or 1.0
        most = queue.most_rows(length)
        rounds = (len(queue.order) + rows) // (most * self.lanes) + 3
        return now + rounds * law.seconds(most, length) * (1.0 + queue.cost.spread) < deadline

    def answered_at(
        self, queue: NetworkQueue, rows: int, deadline: float, now: float, priority: int = 0, preparing: int = 0
    ) -> float | None:
        """When a request that arrives now should be answered, by the rows before it and those that run; None if unknown.

        Its batches and those before it go round the lanes, as full as possible. Of other networks only rows with an earlier
        effective deadline count, and no more than their share.
        """
        law = queue.cost.law
        if law is None:
            return None
        length = queue.usual_length or 1.0
        if length > queue.cost.reach:
            return None
        most = queue.most_rows(length)
        effective = effective_deadline(deadline, now, priority)
        total = queue.rank(effective) + preparing + rows
        rounds, lane = divmod((total - 1) // most, self.lanes)
        full_s = law.seconds(most, length)
        own_s = law.seconds(min(most, total), length)
        free_in = sorted(max(0.0, ends - now) for ends, _ in self._running.values())
        idle = self.lanes - len(free_in)
        lane_s = 0.0 if lane < idle else free_in[lane - idle]
        others_s = 0.0
        before_s = (rounds * self.lanes + lane) * full_s
        for other in self._queues:
            if other is not queue and other.order and (theirs := other.cost.law) is not None:
                size = other.most_rows(other.usual_length)
                work_s = other.rank(effective) * theirs.seconds(size, other.usual_length) / size
                others_s += min(work_s, (before_s + own_s) * other.limits.weight / queue.limits.weight)
        return now + lane_s + rounds * full_s + own_s * (1.0 + queue.cost.spread) + others_s / self.lanes


def _as_usual(queue: NetworkQueue, law: Law, rows: int, length: float) -> int:
    """How many rows of the usual length take the device as long as `rows` of this one."""

    def row_s(of: float) -> float:
        most = queue.most_rows(of)
        return law.seconds(most, of) / most

    usual_s = row_s(queue.usual_length or length)
    return max(1, round(rows * row_s(length) / usual_s)) if usual_s > 0.0 else rows


def _alone_s(queue: NetworkQueue, law: Law, rows: int, lanes: int) -> float:
    """Seconds of a request of so many rows of the usual length on an idle device, whose lanes share them."""
    length = queue.usual_length or 1.0
    most = queue.most_rows(length)
    rounds = (rows - 1) // (most * lanes)
    share = -(-(rows - rounds * most * lanes) // lanes)
    return rounds * law.seconds(most, length) + law.seconds(share, length) * (1.0 + queue.cost.spread)


__all__ = [
    "BORROW_S",
    "DEFAULT_PRIORITY",
    "LAST_PRIORITY",
    "LEAST_RETRY_S",
    "PATIENCE_S",
    "PRIORITY_STEP_S",
    "PROBE_S",
    "Batch",
    "BatchLimits",
    "DevicePolicy",
    "NetworkQueue",
    "QueuedRow",
    "effective_deadline",
]

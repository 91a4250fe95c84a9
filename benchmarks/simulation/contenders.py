"""The contenders: batching policies as their authors describe them, and Zoo's own as it serves.

If models share a device, all contenders but Zoo give a free lane the ready batch with the oldest first row.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from benchmarks.simulation.engine import INFINITY, Contender, Request, SimulatedBatch
from benchmarks.simulation.profiles import Network
from service.scheduler.cost import LearnedCost
from service.scheduler.policy import Batch, BatchLimits, DevicePolicy
from service.types import Item

TORCHSERVE_QUEUE = 100
"""TorchServe's default of `job_queue_size`."""

ZOO_QUEUE, ZOO_TIMEOUT_S = 512, 60.0
"""Zoo's defaults of `max_queue_size` and `default_timeout_ms`."""

BACKOFF = 0.9
"""Clipper's: "reducing the batch size by 10 %"."""


class ArrivalOrder:
    """Batches in order of arrival, up to the limit, optionally after a delay.

    Without a delay and without timeouts: first come, first served, Triton's default (`dynamic_batching { }`).

    `delay_s`: a partial batch waits until its oldest row has waited so long (Triton's `max_queue_delay_microseconds`, with the
    limit as preferred size), or, with `from_pickup`, until so long after a worker took its first row (TorchServe's
    `max_batch_delay`). `reserve_s`: rows with less time than this until their deadline are not run (Triton's `timeout_action:
    REJECT` with the callers' own timeouts, each set below the deadline by the time of a batch). `most_waiting`: limit of the
    rows in a model's queue.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        delay_s: Sequence[float] | None = None,
        *,
        from_pickup: bool = False,
        reserve_s: Sequence[float] | None = None,
        most_waiting: float = INFINITY,
    ) -> None:
        self.work_conserving = delay_s is None
        self.waiting = 0
        self._most = [network.max_batch_size for network in networks]
        self._delay_s = delay_s
        self._from_pickup = from_pickup
        self._reserve_s = reserve_s
        self._most_waiting = most_waiting
        self._queues: list[deque[Request]] = [deque() for _ in networks]
        self._picked_at = [INFINITY for _ in networks]

    def arrive(self, request: Request, now: float) -> bool:
        """See Contender."""
        queue = self._queues[request.network]
        if len(queue) >= self._most_waiting:
            return False
        queue.append(request)
        self.waiting += 1
        return True

    def next(self, now: float) -> SimulatedBatch | float:
        """See Contender."""
        late: list[Request] = []
        look_again = oldest = INFINITY
        chosen = -1
        for index, queue in enumerate(self._queues):
            while queue and self._is_late(queue[0], now):
                late.append(queue.popleft())
            if not queue:
                continue
            ready = self._ready_at(index, queue, now)
            if ready > now:
                look_again = min(look_again, ready)
            elif queue[0].at < oldest:
                oldest, chosen = queue[0].at, index
        self.waiting -= len(late)
        if chosen < 0:
            return SimulatedBatch(late[0].network, [], late) if late else look_again
        queue = self._queues[chosen]
        rows: list[Request] = []
        while queue and len(rows) < self._most[chosen]:
            request = queue.popleft()
            self.waiting -= 1
            (late if self._is_late(request, now) else rows).append(request)
        self._picked_at[chosen] = INFINITY
        return SimulatedBatch(chosen, rows, late)

    def _is_late(self, request: Request, now: float) -> bool:
        return self._reserve_s is not None and request.deadline <= now + self._reserve_s[request.network]

    def _ready_at(self, index: int, queue: deque[Request], now: float) -> float:
        if self._delay_s is None:
            return now
        if self._from_pickup and self._picked_at[index] == INFINITY:
            self._picked_at[index] = now
        if len(queue) >= self._most[index]:
            return now
        return (self._picked_at[index] if self._from_pickup else queue[0].at) + self._delay_s[index]

    def finished(self, job: SimulatedBatch, now: float) -> None:
        """See Contender."""


class Clipper:
    """Batches of adaptive size (Crankshaw et al., NSDI 2017, section 4.3.1): the size grows by one while a full batch stays
    within the latency objective, and shrinks by a tenth when a batch exceeds it.

    Rows are sorted by deadline, and rows past their deadline are not run, as in the authors' code (`ModelQueue`). The objective
    is the network's tightest deadline. The size is bounded by the network's limit, as for all contenders.
    """

    work_conserving = True

    def __init__(self, networks: Sequence[Network], objective_s: Sequence[float]) -> None:
        self.waiting = 0
        self.sizes = [1.0 for _ in networks]
        self._most = [network.max_batch_size for network in networks]
        self._objective_s = objective_s
        self._queues: list[list[tuple[float, int, Request]]] = [[] for _ in networks]
        self._order = count()

    def arrive(self, request: Request, now: float) -> bool:
        """See Contender."""
        heapq.heappush(self._queues[request.network], (request.deadline, next(self._order), request))
        self.waiting += 1
        return True

    def next(self, now: float) -> SimulatedBatch | float:
        """See Contender."""
        late: list[Request] = []
        chosen, oldest = -1, INFINITY
        for index, queue in enumerate(self._queues):
            while queue and queue[0][0] <= now:
                late.append(heapq.heappop(queue)[2])
            if queue and queue[0][2].at < oldest:
                chosen, oldest = index, queue[0][2].at
        self.waiting -= len(late)
        if chosen < 0:
            return SimulatedBatch(late[0].network, [], late) if late else INFINITY
        queue = self._queues[chosen]
        rows = [heapq.heappop(queue)[2] for _ in range(min(len(queue), int(self.sizes[chosen])))]
        self.waiting -= len(rows)
        return SimulatedBatch(chosen, rows, late)

    def finished(self, job: SimulatedBatch, now: float) -> None:
        """See Contender."""
        size = self.sizes[job.network]
        if now - job.started > self._objective_s[job.network]:
            self.sizes[job.network] = max(1.0, BACKOFF * size)
        elif len(job.rows) >= int(size):
            self.sizes[job.network] = min(float(self._most[job.network]), size + 1.0)


class Zoo:
    """Zoo's policy, unchanged: `service.scheduler.policy` under the engine's clock, with its admission, its limit of rows in
    flight, and costs that are learned from batches, after the warm-up that the server runs at load.
    """

    work_conserving = True

    def __init__(
        self,
        networks: Sequence[Network],
        lanes: int,
        weights: Sequence[float],
        most_waiting: int = ZOO_QUEUE,
    ) -> None:
        self.policy = DevicePolicy(lanes)
        self._most_waiting = most_waiting
        self._in_flight = [0 for _ in networks]
        self.queues = []
        self._index = {}
        for index, (network, weight) in enumerate(zip(networks, weights, strict=True)):
            cost = LearnedCost()
            for rows in (1, 1, 2, 2):  # as the loader's `_warm_up`
                cost.observe(rows, network.usual_length, network.law.seconds(rows, network.usual_length))
            limits = BatchLimits(network.max_batch_size, most_waiting, weight=weight)
            queue = self.policy.add(network.name, limits, cost, network.varies)
            self.queues.append(queue)
            self._index[queue] = index

    @property
    def waiting(self) -> int:
        """See Contender."""
        return sum(len(queue) for queue in self.queues)

    def arrive(self, request: Request, now: float) -> bool:
        """See Contender."""
        index, queue = request.network, self.queues[request.network]
        deadline = request.deadline if request.deadline < INFINITY else now + ZOO_TIMEOUT_S
        if self._in_flight[index] >= self._most_waiting or self.policy.refuse(queue, 1, deadline, now) is not None:
            return False
        queue.push(Item({}, request.length), request, 0, deadline, now)
        self._in_flight[index] += 1
        return True

    def next(self, now: float) -> SimulatedBatch | float:
        """See Contender."""
        step = self.policy.next(now)
        if not isinstance(step, Batch):
            return step
        index = self._index[step.queue]
        dropped = [_request(entry.owner) for entry in (*step.expired, *step.too_late)]
        self._in_flight[index] -= len(dropped)
        return SimulatedBatch(index, [_request(entry.owner) for entry, _ in step.rows], dropped, step)

    def finished(self, job: SimulatedBatch, now: float) -> None:
        """See Contender."""
        assert isinstance(job.token, Batch)
        self._in_flight[job.network] -= len(job.rows)
        self.policy.finished(job.token, now)


def _request(ticket: object) -> Request:
    assert isinstance(ticket, Request)
    return ticket


MakeContender = Callable[[Sequence[Network], int, Sequence[float], Sequence[float]], Contender]
"""Networks, lanes, weights, the tightest deadline of each."""


def _half_a_batch(networks: Sequence[Network]) -> list[float]:
    """The delay of the contenders with a delay: the time of half a full batch."""
    return [0.5 * network.full_s for network in networks]


def _a_batch_and_more(networks: Sequence[Network]) -> list[float]:
    """The time that Triton's queue timeouts reserve for a batch: a full batch of the usual length, its noise, and a margin."""
    return [1.1 * math.exp(2.0 * network.sigma) * network.full_s for network in networks]


CONTENDERS: dict[str, MakeContender] = {
    "zoo": lambda networks, lanes, weights, _: Zoo(networks, lanes, weights),
    "fcfs": lambda networks, *_: ArrivalOrder(networks),
    "triton": lambda networks, *_: ArrivalOrder(
        networks, _half_a_batch(networks), reserve_s=_a_batch_and_more(networks)
    ),
    "torchserve": lambda networks, *_: ArrivalOrder(
        networks, _half_a_batch(networks), from_pickup=True, most_waiting=TORCHSERVE_QUEUE
    ),
    "clipper": lambda networks, _lanes, _weights, objective_s: Clipper(networks, objective_s),
}

VARIANTS: dict[str, MakeContender] = {
    "zoo-unbounded": lambda networks, lanes, weights, _: Zoo(networks, lanes, weights, most_waiting=10**9),
}
"""Run on request only: Zoo without the limit of `max_queue_size`."""

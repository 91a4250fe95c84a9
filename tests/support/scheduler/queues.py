"""Queues of a device under a given clock, and rows to put into them."""

import math

from service.scheduler.cost import Cost, KnownCost, Law
from service.scheduler.policy import (
    Batch,
    BatchLimits,
    DevicePolicy,
    NetworkQueue,
    QueuedRow,
)
from service.types import Item
from tests.support.scheduler.fakes import item

NEVER = math.inf
UNKNOWN = KnownCost(None)
LAW = Law(0.1, 0.1, 0.0)
KNOWN = KnownCost(LAW)
BY_LENGTH = KnownCost(Law(0.004, 0.0005, 0.0001))


class World:
    """A device and its queues by name."""

    def __init__(self, lanes: int = 1) -> None:
        self.policy = DevicePolicy(lanes)

    def queue(
        self, name: str = "q", batch: int = 4, delay_s: float = 0.0, cost: Cost = UNKNOWN, lengths: bool = False
    ) -> NetworkQueue:
        return self.policy.add(name, BatchLimits(batch, 64, delay_s), cost, lengths)

    def run(self, now: float, seconds: float = 0.0) -> list[int]:
        """The next batch, which takes so long; the indices of its rows."""
        batch = self.policy.next(now)
        assert isinstance(batch, Batch)
        self.policy.finished(batch, now + seconds)
        return [entry.index for entry, _ in batch.rows]


def queue(batch: int = 4, delay_s: float = 0.0, cost: Cost = UNKNOWN, lengths: bool = False) -> NetworkQueue:
    return World().queue("q", batch, delay_s, cost, lengths)


def push(to: NetworkQueue, *deadlines: float, now: float = 0.0, priority: int = 0) -> list[QueuedRow]:
    return [to.push(item(i), "owner", i, deadline, now, priority) for i, deadline in enumerate(deadlines)]


def push_lengths(to: NetworkQueue, *lengths: int, deadline: float = 9.0, now: float = 0.0) -> list[QueuedRow]:
    return [to.push(Item({}, length), "owner", i, deadline, now) for i, length in enumerate(lengths)]


def indices(of: NetworkQueue, now: float = 0.0) -> list[int]:
    return [entry.index for entry, _ in of.take(now).rows]


def lengths_of(batch: Batch) -> list[int]:
    return sorted(entry.length for entry, _ in batch.rows)

"""Which rows ride together, and which batch runs next: pure decisions under a given clock, tested without threads.

Earliest deadline first (Liu and Layland, 1973) over the queues of all networks on a device, then by age. An idle device
never waits unless a queue asks for it (`max_queue_delay_s`), so under light load a batch is one row and under heavy
load whatever gathered while the device was busy.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from service.types import Item


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one network's queue. Rows are counted, not requests."""

    max_batch_size: int
    max_queue_size: int
    """Most rows that may be in flight: in preprocessing, waiting, or running."""
    max_queue_delay_s: float = 0.0
    """How long an idle device may wait for a fuller batch, counted from the oldest row's arrival. A row that is due
    sooner ends the wait."""


class Entry:
    """One row that waits. Lives in one queue; `drop` frees its tensors at once, its place in the heap later."""

    __slots__ = ("arrival", "deadline", "index", "item", "sequence", "ticket")

    def __init__(self, item: Item, ticket: object, index: int, deadline: float, arrival: float, sequence: int) -> None:
        self.item: Item | None = item
        self.ticket = ticket
        self.index = index
        self.deadline = deadline
        self.arrival = arrival
        self.sequence = sequence

    def __lt__(self, other: Entry) -> bool:
        return (self.deadline, self.sequence) < (other.deadline, other.sequence)

    @property
    def waiting(self) -> bool:
        """Whether it still wants to run."""
        return self.item is not None


class NetworkQueue:
    """Rows that wait for one network, earliest deadline first. Not thread-safe: its owner holds a lock."""

    _sequence = itertools.count()  # shared by all queues, so that age compares across them

    def __init__(self, name: str, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self._heap: list[Entry] = []
        self._dropped = 0

    def __len__(self) -> int:
        """Rows that still want to run."""
        return len(self._heap) - self._dropped

    def push(self, item: Item, ticket: object, index: int, deadline: float, now: float) -> Entry:
        """Adds a row; `deadline` and `now` are seconds on the same clock."""
        entry = Entry(item, ticket, index, deadline, now, next(self._sequence))
        heapq.heappush(self._heap, entry)
        return entry

    def drop(self, entry: Entry) -> None:
        """The caller of `entry` has left: it will not run. Idempotent; harmless once it was taken."""
        if entry.item is None:
            return
        entry.item = None
        self._dropped += 1
        if self._dropped > 64 and self._dropped * 2 > len(self._heap):
            self._heap = [e for e in self._heap if e.waiting]
            heapq.heapify(self._heap)
            self._dropped = 0

    def head(self) -> Entry | None:
        """The row that is due first, or None."""
        while self._heap and not self._heap[0].waiting:
            heapq.heappop(self._heap)
            self._dropped -= 1
        return self._heap[0] if self._heap else None

    def take(self, now: float) -> Batch:
        """Closes a batch: the rows that are due first, up to the limit. Rows past their deadline come back as `late`."""
        rows: list[tuple[Entry, Item]] = []
        late: list[Entry] = []
        while len(rows) < self.limits.max_batch_size and (entry := self.head()) is not None:
            heapq.heappop(self._heap)
            item = entry.item
            assert item is not None
            entry.item = None  # taken: a later drop() must not count it again
            if entry.deadline <= now:
                late.append(entry)
            else:
                rows.append((entry, item))
        return Batch(self, rows, late)

    def ready_at(self) -> float:
        """When a batch of this queue may start on an idle device; infinity while it is empty."""
        head = self.head()
        if head is None:
            return float("inf")
        if self.limits.max_queue_delay_s <= 0 or len(self) >= self.limits.max_batch_size:
            return float("-inf")
        oldest = min(entry.arrival for entry in self._heap if entry.waiting)
        ready = oldest + self.limits.max_queue_delay_s
        return ready if head.deadline > ready else float("-inf")  # waiting must not make a row late


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that run together. Closed: nothing is added to it any more."""

    queue: NetworkQueue
    rows: list[tuple[Entry, Item]]
    late: list[Entry]


def choose(queues: Iterable[NetworkQueue], now: float) -> NetworkQueue | float:
    """The queue whose batch an idle device should run now, or when to look again (infinity: when something arrives)."""
    best: NetworkQueue | None = None
    best_head: Entry | None = None
    look_again = float("inf")
    for queue in queues:
        ready = queue.ready_at()
        if ready > now:
            look_again = min(look_again, ready)
            continue
        head = queue.head()
        if head is not None and (best_head is None or head < best_head):
            best, best_head = queue, head
    return look_again if best is None else best

"""The rows that wait for one network: in which order, and which of them ride together. See `policy.py` for the whole."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from dataclasses import dataclass

from service.scheduler.cost import Cost, Law, margin
from service.scheduler.delay import over_at, release
from service.scheduler.memory_limit import MemoryLimit
from service.scheduler.packing import best_window
from service.scheduler.queued_row import Arrival, QueuedRow, effective_deadline
from service.types import Item

PROBE_S = 2.0
"""A network of which nothing ran for so long may try one row against its prediction, so that a wrong one cannot last."""

PRESSED_S = 1.0
"""For so long after the load made it turn a row away, a queue counts as loaded beyond what it can do."""

WORTH_ROWS = 0.25
"""Under that load, a small batch for the sake of its first row may cost others so many places. Less than one, since the row after
it is mostly in the same need: seen in simulation at twice the capacity, 0.25 keeps batches full and 1 loses a tenth."""

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one network's queue. Rows are counted, not requests."""

    max_batch_size: int
    max_queue_size: int
    """Most rows that may be in flight: in preprocessing, waiting, or running."""
    max_queue_delay_s: float = 0.0
    """How long an idle device may wait for a fuller batch, counted from the oldest row's arrival. A row that must run sooner
    to be in time ends the wait. It ends for all rows of the batch that it was for, on however many lanes they then run."""
    weight: float = 1.0
    """Share of a busy device, against the weights of the other networks that wait."""
    default_timeout_s: float = 60.0
    """For calls that bring no deadline."""


@dataclass(slots=True, eq=False)  # not frozen: that makes it thrice as slow to make
class Batch:
    """Rows that run together. Closed: nothing is added to it any more, and nothing in it changes."""

    queue: NetworkQueue
    rows: list[tuple[QueuedRow, Item]]
    late: list[QueuedRow]
    """Rows that are not run: their deadline has passed."""
    hopeless: list[QueuedRow]
    """Rows that are not run: their deadline has not passed, but would have by the time they were answered."""
    length: int
    """Of the longest row."""
    started: float
    predicted_s: float | None
    """None where the cost is not known yet."""
    cost: Cost

    def late_s(self, entry: QueuedRow) -> float:
        """How much too late a hopeless row would have been answered; not above zero where only others stood in its way."""
        return self.started + self.alone_s(entry) - entry.deadline

    def alone_s(self, entry: QueuedRow) -> float:
        """What a row takes by itself, with the margin that deadlines are given; 0 where that is not known."""
        law = self.cost.law
        return law.seconds(1, entry.length) * margin(self.cost) if law is not None else 0.0


class NetworkQueue:
    """Rows that wait for one network, in order of claim. Made by `DevicePolicy.add`."""

    _sequence = itertools.count()  # shared by all queues, so that age compares across them

    def __init__(self, name: str, limits: BatchLimits, cost: Cost, variable_length: bool = False) -> None:
        self.name = name
        self.limits = limits
        self.cost = cost
        """Of the network as it runs now; replace it when another way of running takes its place."""
        self.usual_length = 0.0
        """Mean padded length of batches, row by row; 0 until a row came."""
        self.turn_s = 0.0
        """What the last batch took."""
        self.given_s = 0.0
        """Device time it was given, divided by its weight, on the scale shared by the queues of a device."""
        self.last_taken = -INFINITY
        """When its last batch was taken."""
        self.running = 0
        """Batches of it on the device; counted by the policy."""
        self.rows_running = 0
        """Rows in them."""
        self.rested = True
        """Whether it was empty since it was last looked at."""
        self.order: list[tuple[float, int, QueuedRow]] = []
        """What waits, by claim and age. To be looked at only."""
        self._by_length: list[tuple[int, float, int, QueuedRow]] | None = [] if variable_length else None
        self.memory = MemoryLimit()
        self._pressed_until = -INFINITY

    def __len__(self) -> int:
        """Rows that want to run."""
        return len(self.order)

    # ── coming, leaving ───────────────────────────────────────────────────────────────────────────────────────

    def push(
        self,
        item: Item,
        ticket: object,
        index: int,
        deadline: float,
        now: float,
        priority: int = 0,
        came: Arrival | None = None,
    ) -> QueuedRow:
        """Adds a row. `ticket` and `index` are the caller's own. `came`: of a request that came before now."""
        came = came or Arrival(now, effective_deadline(deadline, now, priority))
        claim, sequence = came.claim, next(self._sequence)
        entry = QueuedRow(item, ticket, index, deadline, now, came, sequence)
        key = (claim, sequence, entry)
        order = self.order
        if not order or order[-1][0] <= claim:
            order.append(key)
        else:
            insort(order, key)
        if self._by_length is not None:
            insort(self._by_length, (item.length, claim, sequence, entry))
        if not self.usual_length:
            self.usual_length = item.length
        return entry

    def drop(self, entry: QueuedRow) -> None:
        """The caller of `entry` has left: it will not run, and its tensors are freed. Harmless once it was taken."""
        if entry.item is not None:
            self._remove(entry)

    def empty(self) -> list[QueuedRow]:
        """Takes every row out of a queue that nobody will look at again."""
        left = [entry for _, _, entry in self.order]
        for entry in left:
            entry.item = None
        self.order.clear()
        if self._by_length is not None:
            self._by_length.clear()
        return left

    def set_limits(self, limits: BatchLimits) -> None:
        """What waits stays; what is taken from now on keeps the new limits."""
        self.limits = limits

    def _remove(self, entry: QueuedRow) -> Item:
        item = entry.item
        assert item is not None
        entry.item = None
        del self.order[bisect_left(self.order, (entry.claim, entry.sequence))]
        if self._by_length is not None:
            del self._by_length[bisect_left(self._by_length, (entry.length, entry.claim, entry.sequence))]
        return item

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────

    def head(self) -> QueuedRow | None:
        """The row with the first claim, or None."""
        return self.order[0][2] if self.order else None

    def rank(self, claim: float) -> int:
        """How many rows go before one that comes now with this claim."""
        order = self.order
        return len(order) if not order or order[-1][0] <= claim else bisect_left(order, (claim, INFINITY))

    def most_rows(self, length: float, share: int | None = None) -> int:
        """Rows of this length that a batch may hold now, and at most `share`."""
        most = self.memory.rows(length, self.limits.max_batch_size)
        return most if share is None else min(most, share)

    def ready_at(self) -> float:
        """When a batch of this queue may start on an idle device; infinity while it is empty."""
        if not self.order:
            return INFINITY
        delay_s = self.limits.max_queue_delay_s
        if delay_s <= 0 or len(self.order) >= self.most_rows(self.order[0][2].length):
            return -INFINITY
        return over_at([entry for _, _, entry in self.order], delay_s, self.cost, self.turn_s)

    def is_pressed(self, now: float) -> bool:
        """Whether rows were turned away of late that would have been in time but for the load."""
        return now < self._pressed_until

    def press(self, now: float) -> None:
        """A row was turned away that would have been in time but for the load."""
        self._pressed_until = now + PRESSED_S

    def may_probe(self, now: float) -> bool:
        """Whether it is so long ago that something ran that a prediction should be tried. See PROBE_S."""
        return not self.running and now - self.last_taken > PROBE_S

    # ── a batch ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, now: float, device_is_idle: bool = True, share: int | None = None) -> Batch:
        """Closes a batch around the row with the first claim, of at most `share` rows; rows found late on the way come with it.

        The batch is small enough that the rows in it are answered in time, if the cost is known. A row that even alone would
        be late is `hopeless`. Where there are only such rows, one is tried on an idle device, and every PROBE_S.
        Under more load than can be met, so is a row for whose sake a batch would have to be small and cost others their
        places (as the early drop of Nexus: Shen et al., 2019); see WORTH_ROWS.
        """
        if self.limits.max_queue_delay_s > 0 and self.order:
            release([entry for _, _, entry in self.order[: self.most_rows(self.order[0][2].length)]])
        cost, law = self.cost, self.cost.law
        if self._by_length is None and (batch := self._take_in_order(now, cost, law, share)) is not None:
            return batch
        late: list[QueuedRow] = []
        hopeless: list[tuple[QueuedRow, Item]] = []
        safety = margin(cost)
        rows: list[tuple[QueuedRow, Item]] = []
        length = 1
        while self.order:
            first = self.order[0][2]
            length = first.length
            if first.deadline <= now:
                self._remove(first)
                late.append(first)
                continue
            left_s = (first.deadline - now) / safety if length <= cost.reach else INFINITY
            if law is not None and (alone_s := law.seconds(1, length)) > left_s:
                hopeless.append((first, self._remove(first)))
                if first.arrival + alone_s * safety <= first.deadline:  # else no load of the device made it late
                    self.press(now)
                continue
            chosen, length, free = self._companions(first, law, left_s, share)
            if len(chosen) < free and law is not None and self.is_pressed(now):
                lost = law.fixed_s * (1.0 - len(chosen) / free) * free / law.seconds(free, length)
                if lost > WORTH_ROWS:
                    hopeless.append((first, self._remove(first)))
                    self.press(now)
                    continue
            known = law is not None and length <= cost.reach
            answered_at = now + (law.seconds(len(chosen), length) if law is not None and known else 0.0)
            rows = self._collect(chosen, first, answered_at, now, late)
            if len(rows) < len(chosen):
                length = max(entry.length for entry, _ in rows)
            break
        if not rows and hopeless and (device_is_idle or self.may_probe(now)):
            rows = [hopeless.pop()]
            length = rows[0][0].length
        if rows:
            self.last_taken = now
        predicted_s = law.seconds(len(rows), length) if law is not None else None
        return Batch(self, rows, late, [entry for entry, _ in hopeless], length, now, predicted_s, cost)

    def _take_in_order(self, now: float, cost: Cost, law: Law | None, share: int | None) -> Batch | None:
        """The common case, and a quick way for it: all rows alike, as many as fit go, and none of them is near its deadline."""
        length = self.order[0][2].length if self.order else 1
        taken = self.order[: self.most_rows(length, share)]
        predicted_s = None if law is None else law.seconds(len(taken), length)
        answered_at = now if predicted_s is None else now + predicted_s * margin(cost)
        rows: list[tuple[QueuedRow, Item]] = []
        for _, _, entry in taken:
            if entry.deadline <= answered_at or entry.item is None:
                return None
            rows.append((entry, entry.item))
        for entry, _ in rows:
            entry.item = None
        del self.order[: len(rows)]
        self.last_taken = now
        return Batch(self, rows, [], [], length, now, predicted_s, cost)

    def _companions(
        self, first: QueuedRow, law: Law | None, left_s: float, share: int | None
    ) -> tuple[list[QueuedRow], int, int]:
        """Who rides with `first`, the length they are padded to, and how many could if its deadline were far."""
        if self._by_length is None:
            free = min(self.most_rows(first.length, share), len(self.order))
            most = free if law is None else max(1, min(free, law.most_rows(first.length, left_s)))
            return [entry for _, _, entry in self.order[:most]], first.length, free
        rows = self._by_length
        at = bisect_left(rows, (first.length, first.claim, first.sequence))
        limit = self.limits.max_batch_size
        limit = limit if share is None else min(limit, share)
        low, high, length = best_window(rows, at, limit, self.memory.cells, law)
        free = high - low
        if law is not None and law.seconds(free, length) > left_s:
            low, high, length = best_window(rows, at, limit, self.memory.cells, law, left_s)
        return [entry for *_, entry in rows[low:high]], length, free

    def _collect(
        self, chosen: list[QueuedRow], first: QueuedRow, answered_at: float, now: float, late: list[QueuedRow]
    ) -> list[tuple[QueuedRow, Item]]:
        """Takes those chosen out of the queue. Whoever would be late in this company stays, to go first another time."""
        rows: list[tuple[QueuedRow, Item]] = []
        for entry in chosen:
            if entry.deadline <= now:
                self._remove(entry)
                late.append(entry)
            elif entry is first or entry.deadline > answered_at:
                rows.append((entry, self._remove(entry)))
        return rows

"""The rows that wait for one network: their order, and which of them share a batch. See `policy.py` for the whole."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from dataclasses import dataclass

from service.scheduler.cost import Cost, Law, margin
from service.scheduler.delay import delay_ends_at, end_delay
from service.scheduler.memory_limit import MemoryLimit
from service.scheduler.packing import best_window
from service.scheduler.queued_row import Arrival, QueuedRow, effective_deadline
from service.types import Item

PROBE_S = 2.0
"""A network of which nothing ran for so many seconds may run one row against its prediction, so that a wrong prediction cannot
last."""

OVERLOADED_S = 1.0
"""For so many seconds after the load made it turn a row away, a queue counts as overloaded."""

WORTH_ROWS = 0.25
"""In a queue that is overloaded, a small batch for the sake of its first row may cost other rows so many places. Less than one,
since the row after it mostly needs a small batch as well: in simulation at twice the capacity, 0.25 keeps batches full and 1
loses a tenth."""

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one network's queue. Rows are counted, not requests."""

    max_batch_size: int
    max_queue_size: int
    """Most rows that may be in flight: being preprocessed, waiting, or running."""
    max_queue_delay_s: float = 0.0
    """How long an idle device may wait for a fuller batch, counted from when the oldest row was queued. A row that must run
    sooner to be in time ends the delay. It ends for all rows that would fill the batch, on however many lanes they then run."""
    weight: float = 1.0
    """Share of a busy device, against the weights of the other networks that wait."""
    default_timeout_s: float = 60.0
    """For requests without a deadline."""


@dataclass(slots=True, eq=False)  # not frozen: frozen instances take three times as long to make
class Batch:
    """Rows that run together. It is closed: no row is added, and nothing in it changes."""

    queue: NetworkQueue
    rows: list[tuple[QueuedRow, Item]]
    expired: list[QueuedRow]
    """Rows that do not run: their deadline has passed."""
    too_late: list[QueuedRow]
    """Rows that do not run: their deadline has not passed, but would pass before they were answered."""
    length: int
    """Of the longest row."""
    started: float
    predicted_s: float | None
    """None while the cost is not known."""
    cost: Cost

    def late_by_s(self, row: QueuedRow) -> float:
        """How many seconds after its deadline a row would have been answered if it ran alone now; 0 or less where only other rows
        made it late."""
        return self.started + self.alone_s(row) - row.deadline

    def alone_s(self, row: QueuedRow) -> float:
        """Seconds that a row takes alone, with the margin for deadlines; 0 while that is not known."""
        law = self.cost.law
        return law.seconds(1, row.length) * margin(self.cost) if law is not None else 0.0


class NetworkQueue:
    """Rows that wait for one network, by effective deadline. Made by `DevicePolicy.add`."""

    _sequence = itertools.count()  # shared by all queues, so that age compares across them

    def __init__(self, name: str, limits: BatchLimits, cost: Cost, variable_length: bool = False) -> None:
        self.name = name
        self.limits = limits
        self.cost = cost
        """Of the network as it runs now; replaced when the network runs in another way."""
        self.usual_length = 0.0
        """Mean padded length of batches, by rows; 0 until a row was queued."""
        self.last_batch_s = 0.0
        """Seconds of the last batch."""
        self.virtual_time_s = 0.0
        """Device time that its batches got, divided by its weight: the virtual time of start-time fair queueing, on one scale
        for the queues of a device."""
        self.last_taken = -INFINITY
        """When its last batch was closed."""
        self.running = 0
        """Batches of it on the device; counted by the policy."""
        self.rows_running = 0
        """Rows in them."""
        self.was_empty = True
        """Whether it was empty when the policy last looked."""
        self.order: list[tuple[float, int, QueuedRow]] = []
        """The rows that wait, by effective deadline and age. Others only read it."""
        self._by_length: list[tuple[int, float, int, QueuedRow]] | None = [] if variable_length else None
        self.memory = MemoryLimit()
        self._overloaded_until = -INFINITY

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self.order)

    # ── adding, removing ──────────────────────────────────────────────────────────────────────────────────────

    def push(
        self,
        item: Item,
        owner: object,
        index: int,
        deadline: float,
        now: float,
        priority: int = 0,
        arrival: Arrival | None = None,
    ) -> QueuedRow:
        """Adds a row. `owner` and `index` are the caller's own. `arrival`: of a request that arrived before now."""
        arrival = arrival or Arrival(now, effective_deadline(deadline, now, priority))
        effective, sequence = arrival.effective_deadline, next(self._sequence)
        row = QueuedRow(item, owner, index, deadline, now, arrival, sequence)
        key = (effective, sequence, row)
        order = self.order
        if not order or order[-1][0] <= effective:
            order.append(key)
        else:
            insort(order, key)
        if self._by_length is not None:
            insort(self._by_length, (item.length, effective, sequence, row))
        if not self.usual_length:
            self.usual_length = item.length
        return row

    def drop(self, row: QueuedRow) -> None:
        """The caller of `row` has left: the row does not run, and its tensors are freed. Does nothing for a row that was
        taken."""
        if row.item is not None:
            self._remove(row)

    def empty(self) -> list[QueuedRow]:
        """Removes and gives every row of a queue that was closed."""
        left = [row for _, _, row in self.order]
        for row in left:
            row.item = None
        self.order.clear()
        if self._by_length is not None:
            self._by_length.clear()
        return left

    def set_limits(self, limits: BatchLimits) -> None:
        """Rows that wait stay; batches that are closed from now on keep the new limits."""
        self.limits = limits

    def _remove(self, row: QueuedRow) -> Item:
        item = row.item
        assert item is not None
        row.item = None
        del self.order[bisect_left(self.order, (row.effective_deadline, row.sequence))]
        if self._by_length is not None:
            del self._by_length[bisect_left(self._by_length, (row.length, row.effective_deadline, row.sequence))]
        return item

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

    def head(self) -> QueuedRow | None:
        """The row with the earliest effective deadline, or None."""
        return self.order[0][2] if self.order else None

    def rank(self, effective: float) -> int:
        """How many rows go before a row that is queued now with this effective deadline."""
        order = self.order
        return len(order) if not order or order[-1][0] <= effective else bisect_left(order, (effective, INFINITY))

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
        return delay_ends_at([row for _, _, row in self.order], delay_s, self.cost, self.last_batch_s)

    def is_overloaded(self, now: float) -> bool:
        """Whether rows were turned away within OVERLOADED_S that would have been in time but for the load."""
        return now < self._overloaded_until

    def mark_overloaded(self, now: float) -> None:
        """A row was turned away that would have been in time but for the load."""
        self._overloaded_until = now + OVERLOADED_S

    def may_probe(self, now: float) -> bool:
        """Whether nothing ran for so long that the prediction should be tried. See PROBE_S."""
        return not self.running and now - self.last_taken > PROBE_S

    # ── a batch ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, now: float, device_is_idle: bool = True, share: int | None = None) -> Batch:
        """Closes a batch of at most `share` rows around the row with the earliest effective deadline. The batch also carries the
        rows that were found expired or too late meanwhile.

        The batch is small enough that its rows are answered in time, if the cost is known. A row that would be late even alone
        is `too_late`; where there are only such rows, one runs on an idle device, and every PROBE_S. In an overloaded queue, a
        row is `too_late` as well where a batch would have to be small for its sake and cost other rows their places (as the
        early drop of Nexus: Shen et al., 2019); see WORTH_ROWS.
        """
        if self.limits.max_queue_delay_s > 0 and self.order:
            end_delay([row for _, _, row in self.order[: self.most_rows(self.order[0][2].length)]])
        cost, law = self.cost, self.cost.law
        if self._by_length is None and (batch := self._take_in_order(now, cost, law, share)) is not None:
            return batch
        expired: list[QueuedRow] = []
        too_late: list[tuple[QueuedRow, Item]] = []
        safety = margin(cost)
        rows: list[tuple[QueuedRow, Item]] = []
        length = 1
        while self.order:
            first = self.order[0][2]
            length = first.length
            if first.deadline <= now:
                self._remove(first)
                expired.append(first)
                continue
            left_s = (first.deadline - now) / safety if length <= cost.reach else INFINITY
            if law is not None and (alone_s := law.seconds(1, length)) > left_s:
                too_late.append((first, self._remove(first)))
                if first.queued_at + alone_s * safety <= first.deadline:  # otherwise no load of the device made it late
                    self.mark_overloaded(now)
                continue
            chosen, length, free = self._choose(first, law, left_s, share)
            if len(chosen) < free and law is not None and self.is_overloaded(now):
                lost = law.fixed_s * (1.0 - len(chosen) / free) * free / law.seconds(free, length)
                if lost > WORTH_ROWS:
                    too_late.append((first, self._remove(first)))
                    self.mark_overloaded(now)
                    continue
            known = law is not None and length <= cost.reach
            answered_at = now + (law.seconds(len(chosen), length) if law is not None and known else 0.0)
            rows = self._collect(chosen, first, answered_at, now, expired)
            if len(rows) < len(chosen):
                length = max(row.length for row, _ in rows)
            break
        if not rows and too_late and (device_is_idle or self.may_probe(now)):
            rows = [too_late.pop()]
            length = rows[0][0].length
        if rows:
            self.last_taken = now
        predicted_s = law.seconds(len(rows), length) if law is not None else None
        return Batch(self, rows, expired, [row for row, _ in too_late], length, now, predicted_s, cost)

    def _take_in_order(self, now: float, cost: Cost, law: Law | None, share: int | None) -> Batch | None:
        """The quick path for the common case: rows of one length, as many as fit, none of them near its deadline. None in other
        cases."""
        length = self.order[0][2].length if self.order else 1
        taken = self.order[: self.most_rows(length, share)]
        predicted_s = None if law is None else law.seconds(len(taken), length)
        answered_at = now if predicted_s is None else now + predicted_s * margin(cost)
        rows: list[tuple[QueuedRow, Item]] = []
        for _, _, row in taken:
            if row.deadline <= answered_at or row.item is None:
                return None
            rows.append((row, row.item))
        for row, _ in rows:
            row.item = None
        del self.order[: len(rows)]
        self.last_taken = now
        return Batch(self, rows, [], [], length, now, predicted_s, cost)

    def _choose(
        self, first: QueuedRow, law: Law | None, left_s: float, share: int | None
    ) -> tuple[list[QueuedRow], int, int]:
        """The rows that share a batch with `first`, the length they are padded to, and how many could if its deadline were
        far."""
        if self._by_length is None:
            free = min(self.most_rows(first.length, share), len(self.order))
            most = free if law is None else max(1, min(free, law.most_rows(first.length, left_s)))
            return [row for _, _, row in self.order[:most]], first.length, free
        rows = self._by_length
        at = bisect_left(rows, (first.length, first.effective_deadline, first.sequence))
        limit = self.limits.max_batch_size
        limit = limit if share is None else min(limit, share)
        low, high, length = best_window(rows, at, limit, self.memory.cells, law)
        free = high - low
        if law is not None and law.seconds(free, length) > left_s:
            low, high, length = best_window(rows, at, limit, self.memory.cells, law, left_s)
        return [row for *_, row in rows[low:high]], length, free

    def _collect(
        self, chosen: list[QueuedRow], first: QueuedRow, answered_at: float, now: float, expired: list[QueuedRow]
    ) -> list[tuple[QueuedRow, Item]]:
        """Takes the chosen rows out of the queue. A row that would be late in this batch stays, and goes first another time."""
        rows: list[tuple[QueuedRow, Item]] = []
        for row in chosen:
            if row.deadline <= now:
                self._remove(row)
                expired.append(row)
            elif row is first or row.deadline > answered_at:
                rows.append((row, self._remove(row)))
        return rows

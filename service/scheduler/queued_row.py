"""One row that waits for the device, and the key that orders it. See `policy.py` for the whole."""

from __future__ import annotations

from typing import NamedTuple

from service.types import DEFAULT_PRIORITY, LAST_PRIORITY, Item

PATIENCE_S = 10.0
"""After so many seconds a far deadline counts as if it were due. It bounds how long near deadlines may pass a row."""

PRIORITY_STEP_S = 5.0
"""How far one step of priority moves a row's effective deadline."""


class Arrival(NamedTuple):
    """When the request of rows that were preprocessed arrived, and the key that it got then."""

    at: float
    """The arrival, moved by the seconds that the request's own preprocessing took: any other wait before the queue was due to
    other requests."""
    effective_deadline: float


class QueuedRow:
    """One row that waits. Lives in one queue; `item` is None once the row was taken, dropped, or found expired."""

    __slots__ = (
        "arrived_at",
        "deadline",
        "delay_over",
        "effective_deadline",
        "index",
        "item",
        "length",
        "owner",
        "queued_at",
        "sequence",
    )

    def __init__(
        self, item: Item, owner: object, index: int, deadline: float, queued_at: float, arrival: Arrival, sequence: int
    ) -> None:
        self.item: Item | None = item
        self.owner = owner
        """The caller's own: who gets the outcome, as row `index`."""
        self.index = index
        self.deadline = deadline
        self.queued_at = queued_at
        self.arrived_at = arrival.at
        """See `Arrival`."""
        self.effective_deadline = arrival.effective_deadline
        self.sequence = sequence
        self.length = item.length
        self.delay_over = False
        """Whether the row waits for no fuller batch any more."""

    @property
    def waiting(self) -> bool:
        """Whether the row is still to run."""
        return self.item is not None


def effective_deadline(deadline: float, now: float, priority: int = 0) -> float:
    """The key that orders a row that arrives now; see the head of `policy.py`."""
    key = min(deadline, now + PATIENCE_S)
    return key + (min(priority, LAST_PRIORITY) - DEFAULT_PRIORITY) * PRIORITY_STEP_S if priority else key

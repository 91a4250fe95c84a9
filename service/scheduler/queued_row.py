"""One row that waits, and by what it is ordered. See `policy.py` for the whole."""

from __future__ import annotations

from typing import NamedTuple

from service.types import Item

PATIENCE_S = 10.0
"""After so long a far deadline counts as if it were due. It bounds how long near deadlines may pass a row."""

CLASS_S = 5.0
"""What one step of priority is worth."""

DEFAULT_PRIORITY, LAST_PRIORITY = 5, 9
"""Priorities are 1 (first) to 9 (last), larger ones count as 9; 0, for not given, means 5."""


class Arrival(NamedTuple):
    """What rows that had to be prepared keep from when their request came in."""

    at: float
    """Then, and as much later as it took for its own sake: whatever else passed before its queue was others' doing."""
    claim: float


class QueuedRow:
    """One row that waits. Lives in one queue; `item` is None once it was taken, dropped, or found late."""

    __slots__ = ("arrival", "came", "claim", "deadline", "index", "item", "length", "released", "sequence", "ticket")

    def __init__(
        self, item: Item, ticket: object, index: int, deadline: float, arrival: float, came: Arrival, sequence: int
    ) -> None:
        self.item: Item | None = item
        self.ticket = ticket
        self.index = index
        self.deadline = deadline
        self.arrival = arrival
        """In its queue."""
        self.came = came.at
        """See `Arrival`."""
        self.claim = came.claim
        self.sequence = sequence
        self.length = item.length
        self.released = False
        """Whether it waits for no fuller batch any more."""

    @property
    def waiting(self) -> bool:
        """Whether it still wants to run."""
        return self.item is not None


def effective_deadline(deadline: float, now: float, priority: int = 0) -> float:
    """By what a row that comes now is ordered in its queue; see the head of `policy.py`."""
    claim = min(deadline, now + PATIENCE_S)
    return claim + (min(priority, LAST_PRIORITY) - DEFAULT_PRIORITY) * CLASS_S if priority else claim

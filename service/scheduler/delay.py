"""What the opt-in delay of a queue decides: how long its rows wait for a fuller batch, and whose wait is over."""

from __future__ import annotations

from collections.abc import Sequence

from service.scheduler.cost import Cost, margin
from service.scheduler.queued_row import QueuedRow

WAKING_S = 0.005
"""A lane that sleeps until a delay is over may wake so much later; a row's deadline is not left to that."""

INFINITY = float("inf")


def over_at(waiting: Sequence[QueuedRow], delay_s: float, cost: Cost, turn_s: float) -> float:
    """When rows that are less than a batch need wait no longer; minus infinity where that is now.

    `turn_s`: what the last batch took, which is believed where it is more than predicted.
    """
    if any(entry.released for entry in waiting):
        return -INFINITY
    law, longest = cost.law, max(entry.length for entry in waiting)
    predicted_s = law.seconds(len(waiting), longest) if law is not None and longest <= cost.reach else 0.0
    ready = min(entry.arrival for entry in waiting) + delay_s
    latest = min(entry.deadline for entry in waiting) - max(turn_s, predicted_s) * margin(cost) - WAKING_S
    return ready if latest > ready else -INFINITY  # waiting must not make a row late


def release(rows: Sequence[QueuedRow]) -> None:
    """A batch starts for which these have waited. Whom it leaves, for another lane or for their length, waits no second time."""
    for entry in rows:
        entry.released = True

"""The opt-in delay of a queue: how long its rows wait for a fuller batch, and which rows do not wait any more."""

from __future__ import annotations

from collections.abc import Sequence

from service.scheduler.cost import Cost, margin
from service.scheduler.queued_row import QueuedRow

WAKING_S = 0.005
"""A lane that sleeps until a delay is over may wake so many seconds later; a row's deadline does not depend on that."""

INFINITY = float("inf")


def delay_ends_at(waiting: Sequence[QueuedRow], delay_s: float, cost: Cost, last_batch_s: float) -> float:
    """When rows that are less than a batch need wait no longer; minus infinity where that is now.

    `last_batch_s`: what the last batch took, which counts where it is more than the prediction.
    """
    if any(row.delay_over for row in waiting):
        return -INFINITY
    law, longest = cost.law, max(row.length for row in waiting)
    predicted_s = law.seconds(len(waiting), longest) if law is not None and longest <= cost.reach else 0.0
    ready = min(row.queued_at for row in waiting) + delay_s
    latest = min(row.deadline for row in waiting) - max(last_batch_s, predicted_s) * margin(cost) - WAKING_S
    return ready if latest > ready else -INFINITY  # the delay must not make a row late


def end_delay(rows: Sequence[QueuedRow]) -> None:
    """A batch starts for which these rows have waited. Rows left out of it do not wait for the delay again."""
    for row in rows:
        row.delay_over = True

"""The states of a job and the moves between them. The store makes each move by compare-and-set, so no other can happen.

          ┌────────── retry, drain ─────────┐
          ▼                                 │
new ──► QUEUED ──────────────────────► RUNNING ──► SUCCEEDED
        │ ▲ │ ▲                         │ │ │ ▲
        │ │ │ └── resume, from FAILED ──┼─┼─┼─┼──► FAILED
        │ │ └──────────► PAUSED ◄───────┘ │ └ once published, a cancel comes too late
        │ └── resume ───── │              ▼
        └──────────────────┴─────────► CANCELLING ──► CANCELLED      (QUEUED and PAUSED: CANCELLED at once)
"""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import IllegalMove
from service.jobs.types import JobState

MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.PAUSED, JobState.QUEUED, JobState.CANCELLING}
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset(),
}
"""The states that each state may move to."""

ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED, JobState.CANCELLING)
"""States that have not ended: their jobs count against quotas and hold their dataset."""
ENDED = tuple(state for state in JobState if state.ended)
"""States that a job leaves only on request, if at all."""
WORKED_ON = (JobState.RUNNING, JobState.CANCELLING)
"""States in which a server holds the lease of the job."""


def check_move(old: JobState, new: JobState, request: str = "") -> None:
    """Raises IllegalMove unless the move is legal. `request` words the request of a user: "be paused"."""
    if new not in MOVES[old]:
        raise IllegalMove(f"a job that is {old.value.upper()} cannot {request or f'become {new.value.upper()}'}")

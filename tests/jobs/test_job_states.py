"""Every state of a job can be reached, and is left by legal moves only."""

from __future__ import annotations

import pytest

from service.errors import IllegalMove
from service.jobs.job_states import ACTIVE, MOVES, check_move
from service.jobs.types import JobState


def test_every_state_is_reachable_and_has_a_move_or_is_an_end() -> None:
    reached = {JobState.QUEUED}
    while more := {new for state in reached for new in MOVES[state]} - reached:
        reached |= more
    assert reached == set(JobState)
    for state in JobState:
        assert state.ended == (state not in ACTIVE)
        assert state.ended or MOVES[state]


def test_illegal_move_is_rejected_with_the_request() -> None:
    with pytest.raises(IllegalMove, match="a job that is SUCCEEDED cannot be paused"):
        check_move(JobState.SUCCEEDED, JobState.PAUSED, "be paused")

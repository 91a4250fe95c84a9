"""The state of a job after its worker has ended: a table."""

from __future__ import annotations

import signal

import pytest

from service.jobs.desired_state import DesiredState
from service.jobs.types import JobState
from service.jobs.worker_outcome import DRAINED, NextState, OutcomeKind, WorkerOutcome, exit_reason, next_state

RUN, DRAIN, PAUSE, CANCEL = DesiredState.RUN, DesiredState.DRAIN, DesiredState.PAUSE, DesiredState.CANCEL
STOPPED, DIED, FAILED = OutcomeKind.STOPPED, OutcomeKind.DIED, OutcomeKind.FAILED


@pytest.mark.parametrize(
    ("kind", "desired", "expected"),
    [
        (FAILED, RUN, NextState(JobState.FAILED, "why", deaths=1)),
        (FAILED, CANCEL, NextState(JobState.FAILED, "why", deaths=1)),
        (STOPPED, CANCEL, NextState(JobState.CANCELLED)),
        (DIED, CANCEL, NextState(JobState.CANCELLED)),
        (STOPPED, PAUSE, NextState(JobState.PAUSED, "why", deaths=1)),
        (DIED, PAUSE, NextState(JobState.PAUSED, "why", deaths=1)),
        (STOPPED, DRAIN, NextState(JobState.QUEUED, DRAINED, deaths=1)),
    ],
)
def test_state_after_an_outcome_follows_the_desired_state(
    kind: OutcomeKind, desired: DesiredState, expected: NextState
) -> None:
    assert next_state(WorkerOutcome(kind, "why"), desired, 1, 3, 2.0) == expected


def test_death_queues_the_job_with_a_doubled_delay_until_the_limit() -> None:
    died = WorkerOutcome(DIED, "it died")
    again = "it died; the job goes on from its last checkpoint (try {} of 3)"
    assert next_state(died, RUN, 0, 3, 2.0) == NextState(JobState.QUEUED, again.format(2), 2.0, 1)
    assert next_state(died, RUN, 1, 3, 2.0) == NextState(JobState.QUEUED, again.format(3), 4.0, 2)
    last = NextState(JobState.FAILED, "it died, for the third time in a row", deaths=3)
    assert next_state(died, RUN, 2, 3, 2.0) == last


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (7, "the worker ended with exit code 7 and gave no reason"),
        (-signal.SIGSEGV, "the worker was ended by SIGSEGV"),
        (-signal.SIGKILL, "the worker was ended by SIGKILL; the machine may have run out of memory"),
        (-250, "the worker was ended by signal 250"),
    ],
)
def test_exit_code_gives_the_reason_of_a_death(code: int, reason: str) -> None:
    assert exit_reason(code) == reason

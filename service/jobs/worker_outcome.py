"""How a worker can end, and the state that its job enters then. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum, auto

from service.jobs.desired_state import DesiredState
from service.jobs.types import JobState


class OutcomeKind(Enum):
    """How a worker ended."""

    FINISHED = auto()
    """`result/` is complete."""
    STOPPED = auto()
    """On request."""
    FAILED = auto()
    """For a reason that another try would meet again."""
    DIED = auto()
    """For a reason that another try may not meet."""


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """The end of a worker, with the reason that its user may read."""

    kind: OutcomeKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NextState:
    """The state that a job enters after its worker."""

    state: JobState
    reason: str = ""
    delay_s: float = 0.0
    """Before another worker may be started."""
    deaths: int = 0
    """Workers that died in a row."""


DRAINED = "the server was stopped; the job goes on from its last checkpoint when one runs again"
SERVER_GONE = "the server went away; the job goes on from its last checkpoint"


def next_state(
    outcome: WorkerOutcome, desired: DesiredState, deaths: int, max_deaths: int, retry_delay_s: float
) -> NextState:
    """The state after an outcome other than FINISHED.

    `deaths` workers in a row died before this one; the job fails when their number reaches `max_deaths`.
    """
    if outcome.kind is OutcomeKind.FAILED:
        return NextState(JobState.FAILED, outcome.reason, deaths=deaths)
    match desired:
        case DesiredState.CANCEL:
            return NextState(JobState.CANCELLED)
        case DesiredState.PAUSE:
            return NextState(JobState.PAUSED, outcome.reason, deaths=deaths)
        case DesiredState.DRAIN:
            return NextState(JobState.QUEUED, DRAINED, deaths=deaths)
    deaths += 1
    if deaths >= max_deaths:
        return NextState(JobState.FAILED, f"{outcome.reason}, for the {_ordinal(deaths)} time in a row", deaths=deaths)
    reason = f"{outcome.reason}; the job goes on from its last checkpoint (try {deaths + 1} of {max_deaths})"
    return NextState(JobState.QUEUED, reason, retry_delay_s * 2 ** (deaths - 1), deaths)


def exit_reason(code: int) -> str:
    """Why a process ended that gave no reason, from its exit code."""
    if code >= 0:
        return f"the worker ended with exit code {code} and gave no reason"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
    return f"the worker was ended by {name}{memory}"


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")

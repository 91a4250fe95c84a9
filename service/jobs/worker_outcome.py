"""How a worker can end, and what its job does then. Pure: a table in code."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum, auto

from service.jobs.types import JobState


class End(Enum):
    """How a worker ended."""

    FINISHED = auto()
    """`result/` is complete."""
    STOPPED = auto()
    """As it was told."""
    FAILED = auto()
    """For a reason that would come again."""
    DIED = auto()
    """For one that may not."""
    LOST = auto()
    """The job is no longer ours; nothing is to be said of it."""


class DesiredState(Enum):
    """What a worker was told to do last."""

    WORK = auto()
    PAUSE = auto()
    CANCEL = auto()
    DRAIN = auto()
    """Pause, because this server goes away."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a worker, with the reason as its user may read it."""

    end: End
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of the job."""

    state: JobState
    reason: str = ""
    delay_s: float = 0.0
    """Before it may be worked on again."""
    deaths: int = 0
    """In a row."""


DRAINED = "the server was stopped; the job goes on from its last checkpoint when one runs again"
GONE = "the server went away; the job goes on from its last checkpoint"


def next_of(ending: Ending, told: DesiredState, deaths: int, most: int, retry_delay_s: float) -> Next:
    """What follows. `deaths` in a row were there before this one; at `most` the job fails. Not for FINISHED and LOST."""
    if ending.end is End.FAILED:
        return Next(JobState.FAILED, ending.reason, deaths=deaths)
    if told is DesiredState.CANCEL:
        return Next(JobState.CANCELLED)
    if told is DesiredState.PAUSE:
        return Next(JobState.PAUSED, ending.reason, deaths=deaths)
    if told is DesiredState.DRAIN:
        return Next(JobState.QUEUED, DRAINED, deaths=deaths)
    deaths += 1
    if deaths >= most:
        return Next(JobState.FAILED, f"{ending.reason}, for the {_ordinal(deaths)} time in a row", deaths=deaths)
    reason = f"{ending.reason}; the job goes on from its last checkpoint (try {deaths + 1} of {most})"
    return Next(JobState.QUEUED, reason, retry_delay_s * 2 ** (deaths - 1), deaths)


def death(code: int) -> str:
    """Why a process that said nothing has ended, from its exit code."""
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

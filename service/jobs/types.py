"""What there is to say of a job. Mirrors `protos/fine_tuning.proto`; knows neither grpc nor torch.

What a worker reports and what a watcher sees are the same words: Progress, Metric and Log are those of `training/protocol.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from service.training.job_spec import JobSpec
from service.training.protocol import Log, Metric, Progress

__all__ = [
    "Checkpoint",
    "Event",
    "Happening",
    "Job",
    "JobSpec",
    "JobState",
    "Log",
    "Metric",
    "Page",
    "Progress",
    "StateChanged",
]


class JobState(StrEnum):
    """Where a job stands; `job_states.py` has the legal moves. The words of the proto, in lower case."""

    QUEUED = "queued"
    """Waits for its turn."""
    RUNNING = "running"
    """Is worked on."""
    PAUSED = "paused"
    """Rests until somebody resumes it."""
    CANCELLING = "cancelling"
    """Was told to stop and is about to."""
    SUCCEEDED = "succeeded"
    """Its result is a version."""
    FAILED = "failed"
    """Ended without a result; the reason says why."""
    CANCELLED = "cancelled"
    """Ended because somebody wanted it to."""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself. A FAILED job with a checkpoint may still be resumed."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A job entered a state."""

    state: JobState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A point from which a job can go on."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    """By `split/name`."""
    best: bool
    """By the measure that the job watches."""
    size_bytes: int
    time: datetime
    damaged: str = ""
    """What cannot be read of it: one clause; empty where all can."""


Happening = StateChanged | Progress | Metric | Log | Checkpoint


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    sequence: int
    """Counts the job's events from 1 on, without gaps."""
    time: datetime
    what: Happening


@dataclass(frozen=True, slots=True)
class Job:
    """A durable request to tune a model, as it is at one moment. Times are in UTC."""

    id: str
    spec: JobSpec
    """Task and method as chosen."""
    state: JobState
    created: datetime
    state_reason: str = ""
    progress: Progress | None = None
    """None before the first."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest value of each by `split/name`."""
    version: int | None = None
    """What it became, once it has succeeded."""
    promotion_outcome: str = ""
    started: datetime | None = None
    """When it first ran."""
    ended: datetime | None = None
    attempts: int = 0
    """How many times a worker was started for it."""
    yielding: bool = False
    """Whether its worker rests at this moment because calls to served models wait."""
    owner: str = ""
    last_event: int = 0
    """Sequence number of its latest event."""
    damaged: str = ""
    """What cannot be read of it: one clause; empty where all can."""
    workable: bool = True
    """Whether it could be worked on: its spec can be read."""

    def but_damaged(self, why: str, *, workable: bool) -> Job:
        """The same, with what is known of the damage."""
        return replace(self, damaged=why, workable=workable)


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, the newest first."""

    jobs: tuple[Job, ...]
    next_token: str = ""
    """Tells the last of them, whether or not it is still there when the next page is asked for. Empty on the last page."""

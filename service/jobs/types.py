"""Jobs, their events and checkpoints as values. Mirrors `protos/fine_tuning.proto`; imports neither grpc nor torch.

Progress, Metric and Log are the messages of a worker in `training/protocol.py`: watchers get them as they are.
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
    "EventPayload",
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
    """The state of a job; `job_states.py` has the legal moves. The names of the proto, in lower case."""

    QUEUED = "queued"
    """Waits for a server with room."""
    RUNNING = "running"
    """A worker trains, or its result is published."""
    PAUSED = "paused"
    """Waits until a user resumes it."""
    CANCELLING = "cancelling"
    """Its worker is asked to end."""
    SUCCEEDED = "succeeded"
    """Its result is published as a version."""
    FAILED = "failed"
    """Ended without a result; the reason says why."""
    CANCELLED = "cancelled"
    """Ended on request."""

    @property
    def ended(self) -> bool:
        """Whether the job stays in this state. A user may still resume a FAILED job that has a checkpoint."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A job entered a state."""

    state: JobState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A point that a job can continue from."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    """By `split/name`."""
    best: bool
    """By the metric that the job selects checkpoints by."""
    size_bytes: int
    time: datetime
    damaged: str = ""
    """What cannot be read of it, in one clause; empty for a sound one."""


EventPayload = StateChanged | Progress | Metric | Log | Checkpoint


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job."""

    sequence: int
    """The number of the event among the job's events, from 1 on without gaps."""
    time: datetime
    what: EventPayload


@dataclass(frozen=True, slots=True)
class Job:
    """A durable request to fine-tune a model, as it is at one moment. Times are in UTC."""

    id: str
    spec: JobSpec
    """Task and method as chosen."""
    state: JobState
    created: datetime
    state_reason: str = ""
    progress: Progress | None = None
    """None before the first."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest value of each metric, by `split/name`."""
    version: int | None = None
    """The number of the published version, once the job has SUCCEEDED."""
    promotion_outcome: str = ""
    started: datetime | None = None
    """When it first ran."""
    ended: datetime | None = None
    attempts: int = 0
    """How many times a worker was started for it."""
    yielding: bool = False
    """Whether its worker is suspended now because calls to served models wait. The name is that of the proto and the column."""
    owner: str = ""
    last_event: int = 0
    """Sequence number of its latest event."""
    damaged: str = ""
    """What cannot be read of it, in one clause; empty for a sound one."""
    workable: bool = True
    """Whether this server can work on it: its spec can be read, and has nothing that only a newer Zoo knows."""
    newer: bool = False
    """Whether a newer release wrote it in a way that this one does not understand: it is left to the servers of that release."""

    def with_damage(self, why: str, *, workable: bool) -> Job:
        """A copy that states the damage."""
        return replace(self, damaged=why, workable=workable)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, the newest first."""

    jobs: tuple[Job, ...]
    next_token: str = ""
    """Names the last job of the page, which may be deleted before the next page is read. Empty on the last page."""

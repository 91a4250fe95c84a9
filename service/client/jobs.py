"""Fine-tune jobs: the SDK's classes, and their conversion from and to messages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2

from service.client.errors import BadInput, ZooClientError
from service.client.message_fields import build, enum_value, enum_word, utc_time, whole_number
from service.pb import fine_tuning_pb2 as pb
from service.protobuf_values import seconds, struct_dict

_STATE, _METHOD, _PROMOTION = "JOB_STATE_", "METHOD_", "PROMOTION_"
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
"""Final states; only `resume_job` leaves one, FAILED."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress of a job."""

    phase: str = ""
    """`features`, `training`, `evaluation` or `publishing`; empty before the first phase."""
    ratio: float = 0.0
    """Completed share of the job, 0..1."""
    step: int = 0
    steps: int = 0
    """Number of steps of this phase."""
    epoch: int = 0
    """Counts from 1; 0 before training."""
    remaining_s: float | None = None
    """Estimated remaining time; None if unknown."""


@dataclass(frozen=True, slots=True)
class Job:
    """A durable request to fine-tune a model."""

    id: str
    base: str
    dataset_id: str
    model: str
    """The model that gets the result as its next version."""
    task: str
    method: str
    """`head`, `full` or `lora`; `auto` until the server has chosen."""
    hyperparameters: Mapping[str, Any]
    seed: int
    priority: int
    promotion: str
    """`gated` or `never`."""
    display_name: str
    state: str
    """QUEUED, RUNNING, PAUSED, CANCELLING, SUCCEEDED, FAILED or CANCELLED."""
    state_reason: str
    progress: JobProgress
    metrics: Mapping[str, float]
    """Latest value of each metric by `split/name`, for example `validation/accuracy`."""
    version: int
    """Number of the resulting version; 0 until the job has succeeded."""
    promotion_outcome: str
    """Whether `stable` moved to that version, and the reason if it did not."""
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    attempts: int
    """How many times a worker was started for the job."""
    yielding: bool
    """Whether the worker is preempted now because calls to served models wait."""
    owner: str
    last_event: int
    damaged: str = ""
    """One sentence that says which part of the job cannot be read; empty if all can. A damaged job can be deleted."""

    @property
    def has_ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state in ENDED


class JobFailed(ZooClientError):
    """`finetune` waited for a job, and the job ended without a version. `job` is the job in its final state."""

    def __init__(self, job: Job) -> None:
        why = f": {job.state_reason}" if job.state_reason else ""
        super().__init__(f"job {job.id} is {job.state}{why}", code="ABORTED", reason=f"JOB_{job.state}")
        self.job = job


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The job entered a state."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value of a metric."""

    name: str
    split: str
    """`train`, `validation` or `test`."""
    value: float
    step: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the job's log."""

    level: str
    """`info`, `warning` or `error`."""
    text: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A point from which the job can resume."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    """Values by `split/name`."""
    best: bool
    size_bytes: int
    time: datetime | None
    damaged: str = ""
    """One sentence that says which part of the checkpoint cannot be read; empty if all can."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event of a job."""

    sequence: int
    """Counts the job's events from 1; `watch_job(id, after=sequence)` yields the events after this one."""
    time: datetime | None
    what: StateChanged | JobProgress | MetricValue | LogLine | Checkpoint | None
    """None for a kind of event that a newer server added."""
    job: Job | None = field(default=None, compare=False)
    """The job in its present state, with the latest event; None with earlier events."""


def job_request(
    base: str,
    dataset_id: str,
    model: str,
    *,
    task: str,
    method: str,
    hyperparameters: Mapping[str, Any] | None,
    seed: int = 0,
    priority: int = 0,
    promote: bool = True,
    display_name: str = "",
    request_id: str = "",
) -> pb.CreateJobRequest:
    """The request for a job. Its id makes it idempotent. Raises BadInput for values that cannot be sent."""
    spec = build(pb.JobSpec, base=base, dataset_id=dataset_id, model=model, task=task, display_name=display_name)
    spec.seed = whole_number("spec.seed", seed)
    spec.priority = whole_number("spec.priority", priority, bits=32)
    spec.method = enum_value(pb.Method, _METHOD, method, "method", also="auto")
    spec.promotion = pb.PROMOTION_GATED if promote else pb.PROMOTION_NEVER
    if hyperparameters:
        spec.hyperparameters.CopyFrom(build(_struct, hyperparameters))
    return build(pb.CreateJobRequest, spec=spec, request_id=request_id or uuid.uuid4().hex)


def job_state_value(name: str) -> pb.JobState.ValueType:
    """The number of a state such as `RUNNING`; UNSPECIFIED for an empty word. Raises BadInput for an unknown word."""
    return pb.JobState.ValueType(enum_value(pb.JobState, _STATE, name, "state"))


def read_job(message: pb.Job) -> Job:
    """A job from its message."""
    spec = message.spec
    return Job(
        id=message.id,
        base=spec.base,
        dataset_id=spec.dataset_id,
        model=spec.model,
        task=spec.task,
        method=enum_word(pb.Method, spec.method, _METHOD).lower() if spec.method else "auto",
        hyperparameters=struct_dict(spec.hyperparameters),
        seed=spec.seed,
        priority=spec.priority,
        promotion=enum_word(pb.Promotion, spec.promotion, _PROMOTION).lower() if spec.promotion else "gated",
        display_name=spec.display_name,
        state=enum_word(pb.JobState, message.state, _STATE),
        state_reason=message.state_reason,
        progress=_progress(message.progress),
        metrics=dict(message.metrics),
        version=message.version,
        promotion_outcome=message.promotion_outcome,
        created=utc_time(message, "create_time"),
        started=utc_time(message, "start_time"),
        ended=utc_time(message, "end_time"),
        attempts=message.attempts,
        yielding=message.yielding,
        owner=message.owner,
        last_event=message.last_event,
        damaged=message.damaged,
    )


def read_event(message: pb.WatchJobResponse) -> JobEvent:
    """An event from one message of WatchJob."""
    event = message.event
    job = read_job(message.job) if message.HasField("job") else None
    return JobEvent(event.sequence, utc_time(event, "time"), _what(event), job)


def read_checkpoint(message: pb.Checkpoint) -> Checkpoint:
    """A checkpoint from its message."""
    return Checkpoint(
        message.step,
        message.epoch,
        dict(message.metrics),
        message.best,
        message.size_bytes,
        utc_time(message, "time"),
        message.damaged,
    )


def _what(event: pb.JobEvent) -> StateChanged | JobProgress | MetricValue | LogLine | Checkpoint | None:
    match event.WhichOneof("kind"):
        case "state":
            return StateChanged(enum_word(pb.JobState, event.state.state, _STATE), event.state.reason)
        case "progress":
            return _progress(event.progress)
        case "metric":
            metric = event.metric
            return MetricValue(metric.name, metric.split, metric.value, metric.step, metric.epoch)
        case "log":
            return LogLine(event.log.level, event.log.text)
        case "checkpoint":
            return read_checkpoint(event.checkpoint)
        case _:
            return None


def _progress(message: pb.JobProgress) -> JobProgress:
    remaining = seconds(message.remaining) if message.HasField("remaining") else None
    return JobProgress(message.phase, message.ratio, message.step, message.steps, message.epoch, remaining)


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    for name, value in values.items():
        try:
            struct.update({name: list(value) if isinstance(value, tuple) else value})
        except (TypeError, ValueError):
            problem = f"expected a number, a word, true, false or a list of them, got {value!r}"
            raise BadInput(f"spec.hyperparameters.{name}: {problem}") from None
    return struct

"""What a caller gets to know of fine-tune jobs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2

from service.client.errors import BadInput
from service.client.plain import moment, plain, whole_number, word, words_of
from service.client.results import seconds
from service.pb import fine_tuning_pb2 as pb

_STATE, _METHOD, _PROMOTION = "JOB_STATE_", "METHOD_", "PROMOTION_"
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
"""States that a job does not leave by itself."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is."""

    phase: str = ""
    """`features`, `training`, `evaluation` or `publishing`; empty before the first."""
    ratio: float = 0.0
    """Share of the whole that is done, 0..1."""
    step: int = 0
    steps: int = 0
    """Of this phase."""
    epoch: int = 0
    """The first is 1; 0 before training."""
    remaining_s: float | None = None
    """About how long it will still take; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Job:
    """A durable request to tune a model."""

    id: str
    base: str
    dataset_id: str
    model: str
    """Whose next version the result becomes."""
    task: str
    method: str
    """`head`, `full`, `lora`; `auto` until it is chosen."""
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
    """Latest value of each by `split/name`, for example `validation/accuracy`."""
    version: int
    """That it became; 0 until it has succeeded."""
    promotion_outcome: str
    """Whether `stable` moved to that version, and if not, why."""
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    attempts: int
    """How many times a worker was started for it."""
    yielding: bool
    """Whether its worker rests at this moment because calls to served models wait."""
    owner: str
    last_event: int
    damaged: str = ""
    """What cannot be read of it, in one sentence; empty where all can. A damaged job can be deleted."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED


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
    """A point from which the job can go on."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    """By `split/name`."""
    best: bool
    size_bytes: int
    time: datetime | None
    damaged: str = ""
    """What cannot be read of it, in one sentence; empty where all can."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    sequence: int
    """Counts the job's events from 1 on; `watch_job(id, after=sequence)` goes on behind it."""
    time: datetime | None
    what: StateChanged | JobProgress | MetricValue | LogLine | Checkpoint | None
    """None for a kind that this client is too old to know."""
    job: Job | None = field(default=None, compare=False)
    """The job as it is, with the last event that there is at this moment; None with earlier ones."""


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
    """The request for a job, which makes one however often it is sent. Raises BadInput for what cannot be sent."""
    spec = pb.JobSpec(base=base, dataset_id=dataset_id, model=model, task=task, display_name=display_name)
    spec.seed = whole_number("spec.seed", seed)
    spec.priority = whole_number("spec.priority", priority, bits=32)
    spec.method = _value(pb.Method, _METHOD, method, "method", also="auto")
    spec.promotion = pb.PROMOTION_GATED if promote else pb.PROMOTION_NEVER
    if hyperparameters:
        spec.hyperparameters.CopyFrom(_struct(hyperparameters))
    return pb.CreateJobRequest(spec=spec, request_id=request_id or uuid.uuid4().hex)


def job_state_value(name: str) -> pb.JobState.ValueType:
    """`RUNNING` as the protocol's number; empty is UNSPECIFIED. Raises BadInput for a word that is no state."""
    return pb.JobState.ValueType(_value(pb.JobState, _STATE, name, "state"))


def read_job(message: pb.Job) -> Job:
    """A job of the protocol as the SDK's own."""
    spec = message.spec
    return Job(
        id=message.id,
        base=spec.base,
        dataset_id=spec.dataset_id,
        model=spec.model,
        task=spec.task,
        method=word(pb.Method, spec.method, _METHOD).lower() if spec.method else "auto",
        hyperparameters=plain(spec.hyperparameters),
        seed=spec.seed,
        priority=spec.priority,
        promotion=word(pb.Promotion, spec.promotion, _PROMOTION).lower() if spec.promotion else "gated",
        display_name=spec.display_name,
        state=word(pb.JobState, message.state, _STATE),
        state_reason=message.state_reason,
        progress=_progress(message.progress),
        metrics=dict(message.metrics),
        version=message.version,
        promotion_outcome=message.promotion_outcome,
        created=moment(message, "create_time"),
        started=moment(message, "start_time"),
        ended=moment(message, "end_time"),
        attempts=message.attempts,
        yielding=message.yielding,
        owner=message.owner,
        last_event=message.last_event,
        damaged=message.damaged,
    )


def read_event(message: pb.WatchJobResponse) -> JobEvent:
    """One message of the stream that watches a job."""
    event = message.event
    job = read_job(message.job) if message.HasField("job") else None
    return JobEvent(event.sequence, moment(event, "time"), _what(event), job)


def read_checkpoint(message: pb.Checkpoint) -> Checkpoint:
    """A checkpoint."""
    return Checkpoint(
        message.step,
        message.epoch,
        dict(message.metrics),
        message.best,
        message.size_bytes,
        moment(message, "time"),
        message.damaged,
    )


def _what(event: pb.JobEvent) -> StateChanged | JobProgress | MetricValue | LogLine | Checkpoint | None:
    match event.WhichOneof("kind"):
        case "state":
            return StateChanged(word(pb.JobState, event.state.state, _STATE), event.state.reason)
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


def _value(enum: Any, prefix: str, name: str, field: str, also: str = "") -> Any:
    """The number of a word; UNSPECIFIED for the empty one and for `also`."""
    if name in ("", also):
        return 0
    try:
        return enum.Value(prefix + name.upper())
    except ValueError:
        known = ", ".join(filter(None, (also, *(w.lower() for w in words_of(enum, prefix)))))
        raise BadInput(f"{field}: expected one of {known}, got {name!r}") from None


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    for name, value in values.items():
        try:
            struct.update({name: list(value) if isinstance(value, tuple) else value})
        except (TypeError, ValueError):
            problem = f"expected a number, a word, true, false or a list of them, got {value!r}"
            raise BadInput(f"spec.hyperparameters.{name}: {problem}") from None
    return struct

"""Jobs and their events: domain types ↔ messages."""

from __future__ import annotations

import re

from pydantic import ValidationError

from model_zoo import strict_json
from service.errors import InvalidInput
from service.jobs.types import Checkpoint, Event, Job, JobState, Log, Metric, Progress, StateChanged
from service.pb import fine_tuning_pb2 as pb
from service.protobuf_values import struct_dict
from service.training.job_spec import JobSpec, Method, Promotion
from service.wire.times import duration, struct, timestamp

_STATES = {
    JobState.QUEUED: pb.JOB_STATE_QUEUED,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.PAUSED: pb.JOB_STATE_PAUSED,
    JobState.CANCELLING: pb.JOB_STATE_CANCELLING,
    JobState.SUCCEEDED: pb.JOB_STATE_SUCCEEDED,
    JobState.FAILED: pb.JOB_STATE_FAILED,
    JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
}
_METHODS = {
    Method.AUTO: pb.METHOD_UNSPECIFIED,
    Method.HEAD: pb.METHOD_HEAD,
    Method.FULL: pb.METHOD_FULL,
    Method.LORA: pb.METHOD_LORA,
}
_PROMOTIONS = {Promotion.GATED: pb.PROMOTION_GATED, Promotion.NEVER: pb.PROMOTION_NEVER}
_STATE_OF = {value: state for state, value in _STATES.items()}
_METHOD_OF = {value: method for method, value in _METHODS.items()}
_PROMOTION_OF = {value: promotion for promotion, value in _PROMOTIONS.items()} | {
    pb.PROMOTION_UNSPECIFIED: Promotion.GATED
}
LONGEST_REQUEST_ID = 128
_UNSENDABLE = (ValueError, TypeError, OverflowError)
"""Exceptions of protobuf for a value that a field does not take."""


# ── read ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_spec(message: pb.JobSpec, *, without_data: bool = False) -> JobSpec:
    """The job that a user asks for; `without_data`: the dataset may be missing. Raises InvalidInput with the field's path,
    `spec.…`."""
    for field in ("base", "dataset_id", "model"):
        if not getattr(message, field) and not (without_data and field == "dataset_id"):
            raise InvalidInput(f"spec.{field}", "is required")
    if message.method not in _METHOD_OF:
        raise InvalidInput("spec.method", f"expected a method that this server knows, got {message.method}")
    if message.promotion not in _PROMOTION_OF:
        raise InvalidInput("spec.promotion", f"expected a promotion that this server knows, got {message.promotion}")
    if not 0 <= message.priority <= 9:
        raise InvalidInput("spec.priority", f"expected 1 to 9, or 0 for the usual, got {message.priority}")
    hyperparameters = struct_dict(message.hyperparameters)
    try:
        strict_json.text(hyperparameters)
    except strict_json.NotFinite as error:
        raise InvalidInput(f"spec.hyperparameters.{error.path}", "expected a finite number") from None
    try:
        return JobSpec(
            base=message.base,
            dataset_id=message.dataset_id,
            model=message.model,
            task=message.task,
            method=_METHOD_OF[message.method],
            hyperparameters=hyperparameters,
            seed=message.seed,
            priority=message.priority or 5,
            promotion=_PROMOTION_OF[message.promotion],
            display_name=message.display_name,
        )
    except ValidationError as error:
        raise _invalid(error) from None


def read_state(value: int) -> JobState | None:
    """The state to filter by; None for every state. Raises InvalidInput for a number that is no state."""
    if value == pb.JOB_STATE_UNSPECIFIED:
        return None
    if value not in _STATE_OF:
        raise InvalidInput("state", f"expected a state that this server knows, got {value}")
    return _STATE_OF[pb.JobState.ValueType(value)]


def read_request_id(text: str) -> str:
    """Raises InvalidInput for an id that is too long, and as `without_nul`."""
    if len(text) > LONGEST_REQUEST_ID:
        raise InvalidInput("request_id", f"expected at most {LONGEST_REQUEST_ID} characters, got {len(text)}")
    return without_nul(text, "request_id")


def without_nul(text: str, field: str) -> str:
    """A text that every database can store. Raises InvalidInput for a NUL, which PostgreSQL cannot store."""
    if "\0" in text:
        raise InvalidInput(field, "expected a text without NUL characters")
    return text


def _invalid(error: ValidationError) -> InvalidInput:
    """The first field that is wrong, in Zoo's words: the messages of pydantic repeat the input."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    got = first.get("input")
    shown = f"{got[:64]!r}" if isinstance(got, str) else str(got)[:64]
    expected = {
        "base": "the name of a model, at most 63 characters",
        "model": "lower-case letters, digits and underscores, a letter or digit first, at most 63 characters",
        "seed": "a whole number of 0 or more",
        "display_name": "at most 128 characters",
    }.get(name, str(first["msg"]))
    if name == "model" and isinstance(got, str) and (near := re.sub(r"[^a-z0-9]+", "_", got[:63].lower()).strip("_")):
        shown += f"; {near!r} would do"
    return InvalidInput(f"spec.{name}" if name else "spec", f"expected {expected}, got {shown}")


# ── write ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_job(job: Job) -> pb.Job:
    """A job. A job whose damage shows only here is written as damaged."""
    try:
        return _write_job(job)
    except _UNSENDABLE:
        outline = pb.Job(state=_STATES[job.state], damaged=job.damaged or "it holds a value that is out of range")
        outline.id = job.id.encode("utf-8", "replace").decode()
        return outline


def _write_job(job: Job) -> pb.Job:
    return pb.Job(
        id=job.id,
        spec=write_spec(job.spec),
        state=_STATES[job.state],
        state_reason=job.state_reason,
        progress=None if job.progress is None else _write_progress(job.progress),
        metrics=dict(job.metrics),
        version=job.version or 0,
        promotion_outcome=job.promotion_outcome,
        create_time=timestamp(job.created),
        start_time=timestamp(job.started),
        end_time=timestamp(job.ended),
        attempts=job.attempts,
        yielding=job.yielding,
        owner=job.owner,
        last_event=job.last_event,
        damaged=job.damaged,
    )


def write_event(event: Event) -> pb.JobEvent:
    """An event of a job; a line of the log where a value is out of range."""
    try:
        return _write_event(event)
    except _UNSENDABLE:
        line = pb.LogLine(level="error", text=f"event {event.sequence} of the job is damaged: a value is out of range")
        return pb.JobEvent(sequence=event.sequence, time=timestamp(event.time), log=line)


def _write_event(event: Event) -> pb.JobEvent:
    message = pb.JobEvent(sequence=event.sequence, time=timestamp(event.time))
    match event.what:
        case StateChanged():
            message.state.CopyFrom(pb.StateChanged(state=_STATES[event.what.state], reason=event.what.reason))
        case Progress():
            message.progress.CopyFrom(_write_progress(event.what))
        case Metric():
            what = event.what
            metric = pb.MetricValue(
                name=what.name, split=what.split, value=what.value, step=what.step, epoch=what.epoch
            )
            message.metric.CopyFrom(metric)
        case Log():
            message.log.CopyFrom(pb.LogLine(level=event.what.level, text=event.what.text))
        case Checkpoint():
            message.checkpoint.CopyFrom(write_checkpoint(event.what))
    return message


def write_checkpoint(checkpoint: Checkpoint) -> pb.Checkpoint:
    """A checkpoint."""
    return pb.Checkpoint(
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        metrics=dict(checkpoint.metrics),
        best=checkpoint.best,
        size_bytes=checkpoint.size_bytes,
        time=timestamp(checkpoint.time),
        damaged=checkpoint.damaged,
    )


def write_spec(spec: JobSpec) -> pb.JobSpec:
    """The specification of a job."""
    return pb.JobSpec(
        base=spec.base,
        dataset_id=spec.dataset_id,
        model=spec.model,
        task=spec.task,
        method=_METHODS[spec.method],
        hyperparameters=struct(spec.hyperparameters),
        seed=spec.seed,
        priority=spec.priority,
        promotion=_PROMOTIONS[spec.promotion],
        display_name=spec.display_name,
    )


def _write_progress(progress: Progress) -> pb.JobProgress:
    remaining = None if progress.remaining_s is None else duration(max(progress.remaining_s, 0.0))
    return pb.JobProgress(
        phase=progress.phase,
        ratio=progress.ratio,
        step=progress.step,
        steps=progress.steps,
        epoch=progress.epoch,
        remaining=remaining,
    )

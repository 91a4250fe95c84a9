"""Maps rows of the jobs' tables to the types of `types.py` and back.

A damaged row is read as far as possible: a part that cannot be read gets a neutral value, and `damaged` names it in one clause.
One damaged row affects no other.

A newer Zoo may have written a row, while its servers and older ones share the database. A job of a newer release that this Zoo
does not understand waits for a server of that one. Fields of figures and events that this Zoo does not know are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Row

from model_zoo import strict_json
from model_zoo.release import is_newer
from service.jobs.types import (
    Checkpoint,
    Event,
    EventPayload,
    Job,
    JobSpec,
    JobState,
    Log,
    Metric,
    Progress,
    StateChanged,
)
from service.training.hyperparameters import AUTO, Hyperparameters
from service.training.job_spec import Method, Promotion

T = TypeVar("T")

EPOCH = datetime.fromtimestamp(0, UTC)
UNREADABLE = "what happened cannot be read"
NEWER = "waits for a server of the newer Zoo that created it"
"""Reason of a QUEUED job of a newer release that this Zoo does not understand."""
LARGEST_32, LARGEST_64 = 2**31 - 1, 2**63 - 1
FAULTS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError)


class _RowReader:
    """Reads parts of a row, and records the first that cannot be read."""

    def __init__(self) -> None:
        self.damaged = ""

    def part(self, name: str, read: Callable[[], T], default: T) -> T:
        """The value of `read`; `default` where it fails."""
        try:
            return read()
        except FAULTS:
            self.damaged = self.damaged or f"its {name} cannot be read"
            return default


def job_of(row: Row[Any]) -> Job:
    """The job of a row of `jobs`."""
    reader = _RowReader()
    part = reader.part
    spec = part("spec", lambda: strict_json.read_model(JobSpec, _text(row.spec)), None)
    state = part("state", lambda: JobState(row.state), JobState.FAILED)
    newer = is_newer(row.zoo_version) and (bool(reader.damaged) or not _knows_hyperparameters(spec))
    if newer:
        reader.damaged = ""
    readable = spec is not None
    waits = newer and row.state == JobState.QUEUED
    job = Job(
        id=str(row.id),
        spec=spec or _partial_spec(row),
        state=state,
        created=part("time of creation", lambda: moment(row.created), EPOCH),
        state_reason=NEWER if waits else part("reason", lambda: _text(row.reason), ""),
        progress=part("progress", lambda: _progress(row.progress), None),
        metrics=part("metrics", lambda: _metrics(row.metrics), {}),
        version=part("version", lambda: None if row.version is None else _whole(row.version), None),
        promotion_outcome=part("promotion", lambda: _text(row.promotion_outcome), ""),
        started=part("time of start", lambda: _moment_or_none(row.started), None),
        ended=part("time of end", lambda: _moment_or_none(row.ended), None),
        attempts=part("count of attempts", lambda: _whole(row.attempts), 0),
        yielding=bool(row.yielding),
        owner=part("owner", lambda: _text(row.owner), ""),
        last_event=part("last event", lambda: _whole(row.last_event), 0),
        newer=newer,
        workable=not newer,
    )
    for name, column in (
        ("place in the queue", row.not_before),
        ("lease", row.lease_until),
        ("priority", row.priority),
    ):
        part(name, lambda value=column: _number(value), 0.0)  # type: ignore[misc]
    part("count of deaths", lambda: _whole(row.deaths), 0)
    part("lease", lambda: _text(row.lease_owner), "")
    return job if not reader.damaged else job.with_damage(reader.damaged, workable=readable and not newer)


def deaths_of(row: Row[Any]) -> int:
    """The number of a job's workers that died in a row; 0 where it cannot be read."""
    return _RowReader().part("count of deaths", lambda: _whole(row.deaths), 0)


def metrics_of(row: Row[Any]) -> dict[str, float]:
    """The metrics of a job, to update; empty where they cannot be read."""
    return _RowReader().part("metrics", lambda: _metrics(row.metrics), {})


def repaired_columns(row: Row[Any]) -> dict[str, Any]:
    """Columns to reset in the row of a job that can be worked on although parts of the row are damaged."""
    values: dict[str, Any] = {}
    for name, read, default in (
        ("metrics", lambda: _metrics(row.metrics), "{}"),
        ("progress", lambda: _progress(row.progress), None),
        ("started", lambda: _moment_or_none(row.started), None),
        ("ended", lambda: _moment_or_none(row.ended), None),
        ("version", lambda: None if row.version is None else _whole(row.version), None),
        ("promotion_outcome", lambda: _text(row.promotion_outcome), ""),
        ("attempts", lambda: _whole(row.attempts), 0),
        ("deaths", lambda: _whole(row.deaths), 0),
    ):
        reader = _RowReader()
        reader.part(name, read, None)
        if reader.damaged:
            values[name] = default
    return values


def event_of(row: Row[Any]) -> Event:
    """The event of a row of `events`; a log line that says so for a damaged row."""
    reader = _RowReader()
    time = reader.part("time", lambda: moment(row.time), EPOCH)
    damage: EventPayload = Log(level="error", text=f"event {row.sequence} of the job is damaged: {UNREADABLE}")
    return Event(row.sequence, time, reader.part("body", lambda: _event(row.kind, row.body, time), damage))


def is_damaged(event: Event) -> bool:
    """Whether `event_of` could not read the event."""
    return isinstance(event.what, Log) and event.what.text.endswith(f" is damaged: {UNREADABLE}")


def event_columns(what: EventPayload) -> dict[str, str]:
    """The columns `kind` and `body` of an event."""
    match what:
        case StateChanged():
            return {"kind": "state", "body": strict_json.text({"state": what.state, "reason": what.reason})}
        case Checkpoint():
            return {"kind": "checkpoint", "body": strict_json.text(checkpoint_body(what))}
        case Progress():
            kind = "progress"
        case Metric():
            kind = "metric"
        case Log():
            kind = "log"
    return {"kind": kind, "body": strict_json.text(what)}


def checkpoint_body(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as JSON, without its time."""
    return {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "metrics": dict(checkpoint.metrics),
        "best": checkpoint.best,
        "size_bytes": checkpoint.size_bytes,
    }


def checkpoint_of(row: Row[Any]) -> Checkpoint:
    """The checkpoint of a row of `checkpoints`."""
    reader = _RowReader()
    part = reader.part
    return Checkpoint(
        part("step", lambda: _whole(row.step, LARGEST_64), 0),
        part("epoch", lambda: _whole(row.epoch), 0),
        part("metrics", lambda: _metrics(row.metrics), {}),
        bool(row.best),
        part("size", lambda: _whole(row.size_bytes, LARGEST_64), 0),
        part("time", lambda: moment(row.time), EPOCH),
        reader.damaged,
    )


def spec_text(spec: JobSpec) -> str:
    """A spec as it is stored; equal texts mean equal specs."""
    return strict_json.text(spec, sort_keys=True)


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC. Raises ValueError or TypeError for another value."""
    return datetime.fromtimestamp(_number(seconds), UTC)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _knows_hyperparameters(spec: JobSpec | None) -> bool:
    """Whether this Zoo has all hyperparameters of a spec, with such values."""
    try:
        Hyperparameters.model_validate({} if spec is None else _given(spec))
    except ValidationError:
        return False
    return True


def _given(spec: JobSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.hyperparameters.items() if value != AUTO}


def _partial_spec(row: Row[Any]) -> JobSpec:
    """The spec of a job as far as other columns have it, where the spec itself is damaged."""

    def text_or_empty(value: object) -> str:
        return _RowReader().part("column", lambda: _text(value), "")

    return JobSpec.model_construct(
        base=text_or_empty(row.base),
        dataset_id=text_or_empty(row.dataset_id),
        model=text_or_empty(row.model),
        task="",
        method=Method.AUTO,
        hyperparameters={},
        seed=0,
        priority=5,
        promotion=Promotion.GATED,
        display_name="",
    )


def _progress(text: object) -> Progress | None:
    return None if text is None else strict_json.read_model(Progress, _text(text), ignore_unknown=True)


def _metrics(text: object) -> dict[str, float]:
    document = strict_json.read(_text(text))
    if not isinstance(document, dict):
        raise TypeError(type(document))
    return {_text(name): _number(value) for name, value in document.items()}


def _event(kind: object, text: object, time: datetime) -> EventPayload:
    body = strict_json.read(_text(text))
    match kind:
        case "state":
            return StateChanged(JobState(body["state"]), _text(body["reason"]))
        case "progress":
            return strict_json.validated(Progress, body, ignore_unknown=True)
        case "metric":
            return strict_json.validated(Metric, body, ignore_unknown=True)
        case "checkpoint":
            metrics: Mapping[str, Any] = body["metrics"]
            return Checkpoint(
                _whole(body["step"], LARGEST_64),
                _whole(body["epoch"]),
                {_text(name): _number(value) for name, value in metrics.items()},
                bool(body["best"]),
                _whole(body["size_bytes"], LARGEST_64),
                time,
            )
        case "log":
            return strict_json.validated(Log, body, ignore_unknown=True)
    raise ValueError(kind)


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value))
    value.encode()  # raises for half a surrogate pair, which JSON can hold
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(type(value))
    return float(value)


def _whole(value: object, most: int = LARGEST_32) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise TypeError(type(value))
    return value

"""Between what the jobs' tables hold and the types of `types.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from model_zoo import strict_json
from service.jobs.types import (
    Checkpoint,
    Event,
    Happening,
    Job,
    JobSpec,
    JobState,
    Log,
    Metric,
    Progress,
    StateChanged,
)


def job_of(row: Row[Any]) -> Job:
    """A row of `jobs`."""
    return Job(
        id=row.id,
        spec=JobSpec.model_validate_json(row.spec),
        state=JobState(row.state),
        created=moment(row.created),
        state_reason=row.reason,
        progress=None if row.progress is None else Progress(**json.loads(row.progress)),
        metrics=json.loads(row.metrics),
        version=row.version,
        promotion_outcome=row.promotion_outcome,
        started=None if row.started is None else moment(row.started),
        ended=None if row.ended is None else moment(row.ended),
        attempts=row.attempts,
        yielding=row.yielding,
        owner=row.owner,
        last_event=row.last_event,
    )


def event_of(row: Row[Any]) -> Event:
    """A row of `events`."""
    body, time = json.loads(row.body), moment(row.time)
    what: Happening
    match row.kind:
        case "state":
            what = StateChanged(JobState(body["state"]), body["reason"])
        case "progress":
            what = Progress(**body)
        case "metric":
            what = Metric(**body)
        case "checkpoint":
            what = Checkpoint(**body, time=time)
        case _:
            what = Log(**body)
    return Event(row.sequence, time, what)


def event_columns(what: Happening) -> dict[str, str]:
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
    return {"kind": kind, "body": strict_json.text(what.model_dump())}


def checkpoint_body(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint without its time."""
    return {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "metrics": dict(checkpoint.metrics),
        "best": checkpoint.best,
        "size_bytes": checkpoint.size_bytes,
    }


def checkpoint_of(row: Row[Any]) -> Checkpoint:
    """A row of `checkpoints`."""
    metrics: Mapping[str, float] = json.loads(row.metrics)
    return Checkpoint(row.step, row.epoch, metrics, row.best, row.size_bytes, moment(row.time))


def spec_text(spec: JobSpec) -> str:
    """A spec as it is kept; equal texts mean equal specs."""
    return strict_json.text(spec.model_dump(mode="json"), sort_keys=True)


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)

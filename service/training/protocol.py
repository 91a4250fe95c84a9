"""The messages between a server and a worker process. No torch: the server reads this module too.

worker → server   one JSON object a line on the worker's stdout; `kind` names its type
server → worker   one command a line on the worker's stdin; the end of stdin counts as `pause`: the supervisor is gone
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_zoo import strict_json

# ── worker → server ───────────────────────────────────────────────────────────────────────────────────────────────


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(_Message):
    """How far the job is."""

    phase: str
    """`features`, `training`, `evaluation`, `publishing`."""
    ratio: float = Field(ge=0, le=1)
    """Of the whole job."""
    step: int = 0
    steps: int = 0
    epoch: int = 0
    remaining_s: float | None = None


class Metric(_Message):
    """One measured value."""

    name: str
    split: str
    """`train`, `validation` or `test`."""
    value: float
    step: int
    epoch: int = 0


class Log(_Message):
    """One line for the job's event log."""

    level: str
    text: str


class CheckpointWritten(_Message):
    """A checkpoint from which the job can be resumed."""

    step: int
    epoch: int
    metrics: dict[str, float]
    best: bool
    size_bytes: int


class Heartbeat(_Message):
    """The worker is alive. Sent at least every five seconds."""

    resident_mib: float = 0.0


class Finished(_Message):
    """`result/` is complete."""

    metrics: dict[str, float]
    """On held-out data."""


class Stopped(_Message):
    """The worker obeyed `pause` or `cancel`. If it was in training, a pause has left a checkpoint."""


class Failed(_Message):
    """The job failed. `reason` is one sentence for the user."""

    reason: str


WorkerMessage = Progress | Metric | Log | CheckpointWritten | Heartbeat | Finished | Stopped | Failed

SendMessage = Callable[[WorkerMessage], None]
"""Sends one message to the server. May be called from any thread."""

FEATURES_SHARE = 0.8
"""Of the progress of a job of method `head`, whether the server or the worker computes the features. The rest takes seconds."""

MESSAGE_TYPES: dict[str, type[WorkerMessage]] = {
    "progress": Progress,
    "metric": Metric,
    "log": Log,
    "checkpoint": CheckpointWritten,
    "heartbeat": Heartbeat,
    "finished": Finished,
    "stopped": Stopped,
    "failed": Failed,
}
"""By `kind`."""

_KIND_OF = {type_: kind for kind, type_ in MESSAGE_TYPES.items()}

FINAL_MESSAGES = (Finished, Stopped, Failed)
"""A worker sends exactly one of these, as its last message."""


def encode_message(message: WorkerMessage) -> str:
    """One JSON object, without a line end. Raises NotFinite if a value is NaN or infinite."""
    return strict_json.text({"kind": _KIND_OF[type(message)], **message.model_dump(mode="json")})


def decode_message(line: bytes) -> WorkerMessage | None:
    """The message of one line; None if the line is no message."""
    try:
        fields = strict_json.read(line)
        return MESSAGE_TYPES[fields.pop("kind")](**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
        return None


# ── server → worker ───────────────────────────────────────────────────────────────────────────────────────────────

PAUSE, CANCEL, FEATURES_READY = "pause", "cancel", "features"
"""`pause`: write a checkpoint and stop. `cancel`: stop at once. `features`: the server has written its features to the cache."""

WAIT = "--wait"
"""Replaces the job's folder on the command line of a prewarmed worker, which reads its Assignment from stdin."""


class Assignment(BaseModel):
    """The first line on a prewarmed worker's stdin, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    """The job's."""
    lock: Path
    """The worker holds this file locked until it ends, so that a second worker of the job waits for the first."""

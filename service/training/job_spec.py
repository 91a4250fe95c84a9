"""What a job is to do, as it lies in the database and in the worker's folder. No torch here: server and worker read it alike.

A job's folder, `ZOO_HOME/jobs/<id>/`, which only its worker and its supervisor touch:

    spec.json        a WorkOrder
    features/        of the frozen backbone, where the method is `head`: see `features.py`
    checkpoints/     <step>/ each complete by rename
    tensorboard/     event files
    log.txt          the worker's own log
    result/          a version folder, complete by rename: see `model_zoo/version_folder.py`
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Method(StrEnum):
    """How a base is adapted."""

    AUTO = "auto"
    HEAD = "head"
    FULL = "full"
    LORA = "lora"


class Promotion(StrEnum):
    """What happens to `stable` when the result is there."""

    GATED = "gated"
    NEVER = "never"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSpec(_Part):
    """What a user asked for."""

    base: str = Field(min_length=1, max_length=63)
    """Name of a card."""
    dataset_id: str
    """Empty only where a job is judged before its data are there."""
    model: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=63)
    """Whose next version the result becomes."""
    task: str = ""
    """Hugging Face id; empty means what follows from base and data."""
    method: Method = Method.AUTO
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Overrides by name; see `hyperparameters.py`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    priority: int = Field(default=5, ge=1, le=9)
    """1 goes first."""
    promotion: Promotion = Promotion.GATED
    display_name: str = Field(default="", max_length=128)


class WorkOrder(_Part):
    """`spec.json`: everything a worker needs to know, complete, so that it asks nobody."""

    job_id: str
    spec: JobSpec
    """With task and method as chosen."""
    home: Path
    """ZOO_HOME: the base's files are in its store, the dataset in `datasets/<id>/`."""
    device: str = "cpu"
    threads: int = 1
    memory_mib: int = 0
    """What the process may hold before it is ended; 0 sets no limit."""
    rival: Path | None = None
    """Folder of the version that is `stable` now, to be measured on the same held-out data; None where there is none."""
    features_from_server: bool = False
    """Whether somebody computes the base's features beside the worker, and says `features` when it is done (method `head`)."""
    mlflow_uri: str = ""
    """Where to track the job as well; empty means nowhere."""


# ── what a worker says: one JSON object a line on its stdout, told apart by `kind` ──────────────────────────────


class Progress(_Part):
    """It got further."""

    phase: str
    """`features`, `training`, `evaluation`, `publishing`."""
    ratio: float = Field(ge=0, le=1)
    """Of the whole job."""
    step: int = 0
    steps: int = 0
    epoch: int = 0
    remaining_s: float | None = None


class Metric(_Part):
    """Something was measured."""

    name: str
    split: str
    """`train`, `validation` or `test`."""
    value: float
    step: int
    epoch: int = 0


class Log(_Part):
    """It has something to say to the user."""

    level: str
    text: str


class CheckpointWritten(_Part):
    """A point from which to go on."""

    step: int
    epoch: int
    metrics: dict[str, float]
    best: bool
    size_bytes: int


class Heartbeat(_Part):
    """It lives. At least every five seconds."""

    resident_mib: float = 0.0


class Finished(_Part):
    """`result/` is complete."""

    metrics: dict[str, float]
    """On held-out data."""


class Stopped(_Part):
    """It was told to rest, and has written a checkpoint if it was in training."""


class Failed(_Part):
    """It gave up. `reason` is one sentence for the user."""

    reason: str


Said = Progress | Metric | Log | CheckpointWritten | Heartbeat | Finished | Stopped | Failed

KINDS: dict[str, type[Said]] = {
    "progress": Progress,
    "metric": Metric,
    "log": Log,
    "checkpoint": CheckpointWritten,
    "heartbeat": Heartbeat,
    "finished": Finished,
    "stopped": Stopped,
    "failed": Failed,
}

# ── what a worker is told: one word a line on its stdin; its end means that the supervisor is gone, and the worker stops ─────

PAUSE, CANCEL, FEATURES_READY = "pause", "cancel", "features"
"""`pause`: checkpoint and stop. `cancel`: stop at once. `features`: the server has put all features into their folder."""

WAIT = "--wait"
"""In place of a job's folder on the worker's command line: it is kept ready, and hears of its job as the first line on stdin."""


class Assignment(_Part):
    """That line, as JSON."""

    folder: Path
    """The job's."""
    lock: Path
    """File to hold locked until the end: a second worker of a job waits for the first one's."""

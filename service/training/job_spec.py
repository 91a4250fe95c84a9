"""The specification of a job, as it is stored in the database and in the worker's folder. Server and worker read it: no torch.

Only a job's worker and its supervisor touch the job's folder, `ZOO_HOME/jobs/<id>/`:

    spec.json        a WorkOrder
    checkpoints/     one folder for each step, complete by rename
    tensorboard/     event files
    log.txt          the worker's own log
    result/          a version folder, complete by rename: see `model_zoo/version_folder.py`

The messages between server and worker are in `protocol.py`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105  # no password
"""The task whose examples have a class for each token. A frozen base gives vectors of tokens only where its network runs: jobs of
method `head` compute them in the worker."""


OBJECT_DETECTION = "object-detection"
"""The task whose examples have boxes."""


SEGMENTATION = "image-segmentation"
"""The task whose examples have a class for each pixel."""


class Method(StrEnum):
    """How a base is adapted."""

    AUTO = "auto"
    HEAD = "head"
    FULL = "full"
    LORA = "lora"


class Promotion(StrEnum):
    """What happens to the alias `stable` when the result exists."""

    GATED = "gated"
    NEVER = "never"


class JobSpec(BaseModel):
    """What a user asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(min_length=1, max_length=63)
    """Name of a card."""
    dataset_id: str
    """Empty only while a job is checked before its data are uploaded."""
    model: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=63)
    """The result becomes the next version of this model."""
    task: str = ""
    """Hugging Face id; if empty, base and data decide."""
    method: Method = Method.AUTO
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Overrides by name; see `hyperparameters.py`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    priority: int = Field(default=5, ge=1, le=9)
    """1 goes first."""
    promotion: Promotion = Promotion.GATED
    display_name: str = Field(default="", max_length=128)


class WorkOrder(BaseModel):
    """`spec.json`: everything that a worker needs to know, so that it never asks the server or the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    spec: JobSpec
    """With task and method as chosen."""
    home: Path
    """ZOO_HOME: its store has the base's files, `datasets/<id>/` has the dataset."""
    device: str = "cpu"
    threads: int = 1
    memory_mib: int = 0
    """Resident memory above which the worker ends itself; 0 sets no limit."""
    rival: Path | None = None
    """Folder of the incumbent, the version that is `stable` now: it is measured on the same held-out data. None if there is none.
    The name is that of the key in `spec.json`."""
    features_from_server: bool = False
    """Whether the server computes the base's features, and sends `features` when it has finished (method `head`)."""
    mlflow_uri: str = ""
    """MLflow server that also tracks the job; empty means none."""
    traceparent: str = ""
    """The job's trace by W3C Trace Context, for the worker's log and its tracking; empty where the job is not traced."""

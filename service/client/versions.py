"""What a caller gets to know of a model's versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.client.datasets import Dataset
from service.client.jobs import Job
from service.client.models import Decisions, ModelInfo, Traffic, read_decisions, read_model, read_traffic
from service.client.plain import moment, plain, word
from service.client.results import seconds
from service.pb import models_pb2 as pb

_STATE = "MODEL_STATE_"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a fine-tuned version comes from."""

    base: str
    base_sha256: str
    """Of the base's weights, in hexadecimal."""
    dataset_id: str
    dataset_sha256: str
    """Of what was uploaded, in hexadecimal."""
    method: str
    """`head`, `full` or `lora`."""
    job_id: str
    seed: int
    hyperparameters: Mapping[str, Any]
    """Those in effect."""
    zoo_version: str
    metrics: Mapping[str, float]
    """On held-out data."""
    baseline_metrics: Mapping[str, float]
    """Of the baseline on the same data."""
    training_s: float
    task: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable set of weights of a model."""

    number: int
    state: str
    """LOADING, READY, UNLOADING or UNAVAILABLE."""
    state_reason: str
    aliases: tuple[str, ...]
    lineage: Lineage | None
    """None for a model of the zoo."""
    created: datetime | None
    size_bytes: int
    """Of its own files."""
    memory_bytes: int
    """Beside what it shares with its base; 0 where it is not loaded."""
    runs: str = ""
    """Tier and precision of what runs it, `compiled bf16`; empty where it is not loaded."""
    carried_by: str = ""
    """Of a head: the model whose network it runs on, its base or the fp32 runtime of its base."""
    decisions: tuple[Decisions, ...] = ()
    """On tiers and precisions that were looked at; the latest last."""
    note: str = ""
    """Why it runs otherwise than its base does, or than its options say; empty where it does not."""
    damaged: str = ""
    """What cannot be read of its files, in one sentence; empty where all can. A damaged version can be deleted."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a model, the newest first, and where calls that name none go."""

    versions: tuple[ModelVersion, ...]
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class VersionReport:
    """How a fine-tuned version did on held-out data."""

    model: str
    version: int
    report: Mapping[str, Any]
    """`task`, `metrics`, `baseline`, `rival`, `per_class`, `confusion`, `calibration`, and more."""
    html: bytes
    """A page that stands alone, UTF-8."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A model that was taken back to the version that was stable before."""

    model: ModelInfo
    rolled_back: int
    """The version that was stable until now."""


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What became of one call of `finetune`."""

    job: Job
    dataset: Dataset
    version: ModelVersion | None
    """With its lineage; None where it was deleted already."""


def read_versions(message: pb.ListVersionsResponse) -> Versions:
    """All versions of a model."""
    return Versions(tuple(read_version(version) for version in message.versions), read_traffic(message.traffic))


def read_version(message: pb.ModelVersion) -> ModelVersion:
    """One version."""
    return ModelVersion(
        number=message.number,
        state=word(pb.ModelState, message.state, _STATE),
        state_reason=message.state_reason,
        aliases=tuple(message.aliases),
        lineage=_lineage(message.lineage) if message.HasField("lineage") else None,
        created=moment(message, "create_time"),
        size_bytes=message.size_bytes,
        memory_bytes=message.memory_bytes,
        runs=f"{message.runtime.evidence.tier} {message.runtime.precision}".strip(),
        carried_by=message.runtime.carried_by,
        decisions=read_decisions(message.runtime),
        note=message.runtime.note,
        damaged=message.damaged,
    )


def read_report(model: str, message: pb.GetReportResponse) -> VersionReport:
    """A report."""
    return VersionReport(model, message.version, plain(message.report), message.html)


def read_rolled_back(message: pb.RollbackModelResponse) -> RolledBack:
    """A model that was taken back."""
    return RolledBack(read_model(message.model), message.rolled_back)


def _lineage(message: pb.Lineage) -> Lineage:
    return Lineage(
        base=message.base,
        base_sha256=message.base_sha256,
        dataset_id=message.dataset_id,
        dataset_sha256=message.dataset_sha256,
        method=message.method,
        job_id=message.job_id,
        seed=message.seed,
        hyperparameters=plain(message.hyperparameters),
        zoo_version=message.zoo_version,
        metrics=dict(message.metrics),
        baseline_metrics=dict(message.baseline_metrics),
        training_s=seconds(message.training_duration),
        task=message.task,
    )

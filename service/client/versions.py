"""Versions of a model: the SDK's classes, and their conversion from messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.client.datasets import Dataset
from service.client.jobs import Job
from service.client.message_fields import enum_word, utc_time
from service.client.models import Decisions, ModelInfo, Traffic, read_decisions, read_model, read_traffic
from service.pb import models_pb2 as pb
from service.protobuf_values import seconds, struct_dict

_STATE = "MODEL_STATE_"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Origin of a fine-tuned version."""

    base: str
    base_sha256: str
    """Digest of the base's weights, in hexadecimal."""
    dataset_id: str
    dataset_sha256: str
    """Digest of the uploaded bytes, in hexadecimal."""
    method: str
    """`head`, `full` or `lora`."""
    job_id: str
    seed: int
    hyperparameters: Mapping[str, Any]
    """The values in effect."""
    zoo_version: str
    metrics: Mapping[str, float]
    """Metrics on held-out data."""
    baseline_metrics: Mapping[str, float]
    """Metrics of the baseline on the same data."""
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
    """Size of the version's own files."""
    memory_bytes: int
    """Memory without the part shared with its base; 0 if it is not loaded."""
    runs: str = ""
    """Tier and precision of its runtime, for example `compiled bf16`; empty if it is not loaded."""
    carried_by: str = ""
    """Of a head: the model whose network it uses, its base or the fp32 runtime of its base."""
    decisions: tuple[Decisions, ...] = ()
    """The comparisons with fp32, the latest last."""
    note: str = ""
    """Why tier or precision differ from those of the base or from the options; empty if they do not."""
    damaged: str = ""
    """One sentence that says which files cannot be read; empty if all can. A damaged version can be deleted."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a model, newest first, and the routing of calls that name none."""

    versions: tuple[ModelVersion, ...]
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class VersionReport:
    """Evaluation of a fine-tuned version on held-out data."""

    model: str
    version: int
    report: Mapping[str, Any]
    """`task`, `metrics`, `baseline`, `rival`, `per_class`, `confusion`, `calibration`, and more."""
    html: bytes
    """A self-contained page, UTF-8."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A model after a rollback to the previous stable version."""

    model: ModelInfo
    rolled_back: int
    """The version that was stable before the rollback."""


@dataclass(frozen=True, slots=True)
class FineTuned:
    """Result of `finetune`."""

    job: Job
    dataset: Dataset
    version: ModelVersion | None
    """The new version with its lineage; None if it was deleted meanwhile."""


def read_versions(message: pb.ListVersionsResponse) -> Versions:
    """The versions of a model from the reply."""
    return Versions(tuple(read_version(version) for version in message.versions), read_traffic(message.traffic))


def read_version(message: pb.ModelVersion) -> ModelVersion:
    """A version from its message."""
    return ModelVersion(
        number=message.number,
        state=enum_word(pb.ModelState, message.state, _STATE),
        state_reason=message.state_reason,
        aliases=tuple(message.aliases),
        lineage=_lineage(message.lineage) if message.HasField("lineage") else None,
        created=utc_time(message, "create_time"),
        size_bytes=message.size_bytes,
        memory_bytes=message.memory_bytes,
        runs=f"{message.runtime.evidence.tier} {message.runtime.precision}".strip(),
        carried_by=message.runtime.carried_by,
        decisions=read_decisions(message.runtime),
        note=message.runtime.note,
        damaged=message.damaged,
    )


def read_report(model: str, message: pb.GetReportResponse) -> VersionReport:
    """A report from the reply."""
    return VersionReport(model, message.version, struct_dict(message.report), message.html)


def read_rolled_back(message: pb.RollbackModelResponse) -> RolledBack:
    """A rollback from the reply."""
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
        hyperparameters=struct_dict(message.hyperparameters),
        zoo_version=message.zoo_version,
        metrics=dict(message.metrics),
        baseline_metrics=dict(message.baseline_metrics),
        training_s=seconds(message.training_duration),
        task=message.task,
    )

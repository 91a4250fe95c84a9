"""What a caller gets to know of models and of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.client.results import seconds
from service.pb import models_pb2 as pb

_STATE_PREFIX = "MODEL_STATE_"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, Open Inference datatype and shape of one tensor; -1 where any size goes."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the server's catalog. Fields that come from loading are empty where it is not loaded."""

    name: str
    family: str
    task: str
    summary: str
    state: str
    """LOADING, READY, UNLOADING or UNAVAILABLE."""
    state_reason: str
    versions: tuple[int, ...]
    aliases: Mapping[str, int]
    raw_input: str
    """`image`, `text` or `audio`; empty where it takes tensors only."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    licence: str
    provenance: str
    paper: str
    weights_sha256: str
    parameter_count: int
    max_batch_size: int
    labels: tuple[str, ...]
    """Names of its classes; only where one model was asked for."""
    device: str
    precision: str
    memory_bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Whether a server answers (live), may serve (ready), and its catalog with states."""

    live: bool
    ready: bool
    models: tuple[ModelInfo, ...] = field(default=())
    problem: str = ""
    """Why there is nothing to tell, as one sentence; empty where there is."""


def state_value(name: str) -> pb.ModelState.ValueType:
    """`READY` as the protocol's number; ValueError for a word that is no state."""
    return pb.ModelState.Value(_STATE_PREFIX + name.upper()) if name else pb.MODEL_STATE_UNSPECIFIED


def read_model(message: pb.Model) -> ModelInfo:
    """One model of the protocol as the SDK's own."""
    known = message.state in pb.ModelState.values()
    return ModelInfo(
        name=message.name,
        family=message.family,
        task=message.task,
        summary=message.summary,
        state=pb.ModelState.Name(message.state).removeprefix(_STATE_PREFIX) if known else "UNKNOWN",
        state_reason=message.state_reason,
        versions=tuple(message.versions),
        aliases=dict(message.aliases),
        raw_input=message.raw_input,
        inputs=tuple(_spec(tensor) for tensor in message.inputs),
        outputs=tuple(_spec(tensor) for tensor in message.outputs),
        licence=message.origin.licence,
        provenance=message.origin.provenance,
        paper=message.origin.paper,
        weights_sha256=message.origin.weights_sha256,
        parameter_count=message.parameter_count,
        max_batch_size=message.max_batch_size,
        labels=tuple(message.labels),
        device=message.runtime.device,
        precision=message.runtime.precision,
        memory_bytes=message.runtime.memory_bytes,
        load_s=seconds(message.runtime.load_duration),
    )


def _spec(message: pb.TensorSignature) -> TensorSpec:
    return TensorSpec(message.name, message.datatype, tuple(message.shape))

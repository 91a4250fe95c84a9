"""What a caller gets to know of models and of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.client.errors import BadInput
from service.client.results import seconds
from service.pb import models_pb2 as pb

Option = str | float | bool
"""Value of one of a model's options."""

_STATE_PREFIX = "MODEL_STATE_"
_OPTIONS_PREFIX = "options."


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, Open Inference datatype and shape of one tensor; -1 where any size goes."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of the rows that a model takes."""

    name: str
    kind: str
    """`number` or `category`."""
    categories: tuple[str, ...] = ()
    """Values that it was trained on, of a category; others count as unknown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What runs a model, and why it may; figures that were not measured are 0. `models.proto` says what each is."""

    tier: str
    """`eager` or `compiled`."""
    precision: str
    candidate: str
    speedup: float
    rows_per_s: float
    rows_per_s_before: float
    single_speedup: float
    max_error: float
    cosine: float
    top1_agreement: float | None
    compile_s: float
    cached: bool
    reason: str
    processes: int = 0
    """In how many processes of its own it runs; 0: the server's."""
    length_step: int = 0
    """Rows a little shorter than a multiple of this are padded up to it, which is quicker; 0: none are."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """How a fine-tuned version decides on a tier and a precision, against fp32, on held-out examples of its own data.

    Intervals hold 95 %. `models.proto` says what each figure is.
    """

    runs: str
    """Tier and precision that were judged: `compiled bf16`."""
    examples: int
    flips: int | None
    """Decisions that differ; None where the answer is a number."""
    flips_low: float
    flips_high: float
    metric: str
    reference: float
    """In fp32."""
    value: float
    change: float
    change_low: float
    change_high: float
    problem: str
    """Which bound is missed; empty where the version may run so."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where calls that name no version go."""

    stable: int = 0
    """The version that gets most of them; 0 where none is stable."""
    canary: int = 0
    """The version that is tried out; 0 where none is."""
    canary_share: float = 0.0
    """Share of the calls that go to the canary, 0..1."""
    rolled_back_reason: str = ""
    """Why the last canary lost its share; empty where it did not."""


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
    """`image`, `text`, `audio`, `row`, `series` or `record`; empty where it takes tensors only."""
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
    """What it holds on the device; of that, `weights_bytes` are weights."""
    load_s: float
    weights_bytes: int = 0
    growth_bytes: int | None = None
    """How much the server grew over the load; None where that could not be told."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """How it is served: every option with the value in effect."""
    evidence: Evidence | None = None
    decisions: tuple[Decisions, ...] = ()
    """Of a fine-tuned version, on what was looked at; the latest last."""
    carried_by: str = ""
    """Of a fine-tuned head: the model whose network it runs on, its base or the fp32 runtime of its base."""
    note: str = ""
    """Why it runs otherwise than its base does, or than its options say; empty where it does not."""
    base: str = ""
    """The model that it was tuned from; empty for a model of the zoo."""
    traffic: Traffic = field(default_factory=Traffic)
    """Where calls that name no version go."""
    columns: tuple[TableColumn, ...] = ()
    """Of a row or record that it takes; like the next two only where one model was asked for."""
    target_column: str = ""
    """Column of its training table that it learned to tell, and no row has."""
    ignored_columns: tuple[str, ...] = ()
    """Further columns of its training table that are no input."""
    damaged: str = ""
    """What cannot be read of it, in one sentence: its card, or every version that it has. Empty where it can be served."""


@dataclass(frozen=True, slots=True)
class UnloadedModel(ModelInfo):
    """A model that was unloaded, and what came back of the memory that it held; both 0 where it was not loaded."""

    held_bytes: int = 0
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class UpdatedModel(ModelInfo):
    """A model whose options were changed."""

    at_next_load: tuple[str, ...] = ()
    """Options among those that take effect only when it is loaded the next time."""


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
    return ModelInfo(**_fields(message))


def read_unloaded(message: pb.UnloadModelResponse) -> UnloadedModel:
    """A model that was unloaded."""
    return UnloadedModel(**_fields(message.model), held_bytes=message.held_bytes, freed_bytes=message.freed_bytes)


def read_updated(message: pb.UpdateModelResponse) -> UpdatedModel:
    """A model whose options were changed."""
    later = tuple(path.removeprefix(_OPTIONS_PREFIX) for path in message.at_next_load)
    return UpdatedModel(**_fields(message.model), at_next_load=later)


def update_request(name: str, options: Mapping[str, Option | None]) -> pb.UpdateModelRequest:
    """Asks for changes of options; None takes one back to its default. Raises BadInput for what cannot be sent."""
    request = pb.UpdateModelRequest(model=pb.Model(name=name))
    request.update_mask.paths.extend(f"{_OPTIONS_PREFIX}{option}" for option in options)
    for option, value in options.items():
        known = pb.ModelOptions.DESCRIPTOR.fields_by_name.get(option)
        if known is None or value is None:  # of one that it does not know, the server tells what it does
            continue
        try:
            if isinstance(value, bool) != isinstance(known.default_value, bool):  # protobuf takes either for the other
                raise TypeError
            setattr(request.model.options, option, value)
        except (TypeError, ValueError):
            kind = {bool: "true or false", str: "a word", int: "a whole number"}.get(
                type(known.default_value), "a number"
            )
            raise BadInput(f"options.{option}: expected {kind}, got {value!r}") from None
    return request


def _fields(message: pb.Model) -> dict[str, Any]:
    known = message.state in pb.ModelState.values()
    runtime = message.runtime
    return {
        "name": message.name,
        "family": message.family,
        "task": message.task,
        "summary": message.summary,
        "state": pb.ModelState.Name(message.state).removeprefix(_STATE_PREFIX) if known else "UNKNOWN",
        "state_reason": message.state_reason,
        "versions": tuple(message.versions),
        "aliases": dict(message.aliases),
        "raw_input": message.raw_input,
        "inputs": tuple(_spec(tensor) for tensor in message.inputs),
        "outputs": tuple(_spec(tensor) for tensor in message.outputs),
        "licence": message.origin.licence,
        "provenance": message.origin.provenance,
        "paper": message.origin.paper,
        "weights_sha256": message.origin.weights_sha256,
        "parameter_count": message.parameter_count,
        "max_batch_size": message.max_batch_size,
        "labels": tuple(message.labels),
        "device": runtime.device,
        "precision": runtime.precision,
        "memory_bytes": runtime.memory_bytes,
        "load_s": seconds(runtime.load_duration),
        "weights_bytes": runtime.weights_bytes,
        "growth_bytes": runtime.growth_bytes if runtime.HasField("growth_bytes") else None,
        "options": {option.name: value for option, value in message.options.ListFields()},
        "evidence": _evidence(runtime.evidence) if runtime.HasField("evidence") else None,
        "decisions": read_decisions(runtime),
        "carried_by": runtime.carried_by,
        "note": runtime.note,
        "base": message.base,
        "traffic": read_traffic(message.traffic),
        "columns": tuple(TableColumn(c.name, c.kind, tuple(c.categories)) for c in message.columns),
        "target_column": message.target_column,
        "ignored_columns": tuple(message.ignored_columns),
        "damaged": message.damaged,
    }


def read_traffic(message: pb.Traffic) -> Traffic:
    """Where calls that name no version go."""
    return Traffic(message.stable, message.canary, message.canary_share, message.rolled_back_reason)


def read_decisions(runtime: pb.Runtime) -> tuple[Decisions, ...]:
    """How a version decides on what was looked at."""
    return tuple(
        Decisions(
            runs=found.runs,
            examples=found.example_count,
            flips=found.flips if found.HasField("flips") else None,
            flips_low=found.flips_low,
            flips_high=found.flips_high,
            metric=found.metric,
            reference=found.reference,
            value=found.value,
            change=found.change,
            change_low=found.change_low,
            change_high=found.change_high,
            problem=found.problem,
        )
        for found in runtime.decisions
    )


def _evidence(message: pb.Evidence) -> Evidence:
    return Evidence(
        tier=message.tier,
        precision=message.precision,
        candidate=message.candidate,
        speedup=message.speedup,
        rows_per_s=message.rows_per_second,
        rows_per_s_before=message.rows_per_second_before,
        single_speedup=message.single_speedup,
        max_error=message.max_error,
        cosine=message.cosine,
        top1_agreement=message.top1_agreement if message.HasField("top1_agreement") else None,
        compile_s=seconds(message.compile_duration),
        cached=message.cached,
        reason=message.reason,
        processes=message.processes,
        length_step=message.length_step,
    )


def _spec(message: pb.TensorSignature) -> TensorSpec:
    return TensorSpec(message.name, message.datatype, tuple(message.shape))

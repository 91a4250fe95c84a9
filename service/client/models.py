"""Models and the status of a server: the SDK's classes, and their conversion from and to messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.client.errors import BadInput
from service.client.message_fields import enum_word
from service.pb import models_pb2 as pb
from service.protobuf_values import seconds

Option = str | float | bool
"""Value of a model's option."""

_STATE_PREFIX = "MODEL_STATE_"
_OPTIONS_PREFIX = "options."


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, Open Inference datatype and shape of one tensor; -1 means any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a model's input rows."""

    name: str
    kind: str
    """`number` or `category`."""
    categories: tuple[str, ...] = ()
    """Of a `category`: the values of the training data. The model treats other values as unknown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Tier and precision of a model's runtime, with the measurements behind the choice; 0 if not measured. `models.proto` defines
    each field."""

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
    """Number of worker processes; 0 if the model runs in the server's process."""
    length_step: int = 0
    """Rows a little shorter than a multiple of this are padded to it, which is faster; 0 means no padding."""
    compiler: str = ""
    """`openvino`, `aotinductor` or `cuda_graphs`; empty if the model runs eager."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of a fine-tuned version at one tier and precision compared with fp32, on held-out examples of its data.

    Intervals are 95 % confidence intervals. `models.proto` defines each field.
    """

    runs: str
    """Compared tier and precision, for example `compiled bf16`."""
    examples: int
    flips: int | None
    """Number of decisions that differ; None if the answer is a number."""
    flips_low: float
    flips_high: float
    metric: str
    reference: float
    """The metric in fp32."""
    value: float
    change: float
    change_low: float
    change_high: float
    problem: str
    """The bound that is violated; empty if the version may run this way."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Routing of calls that name no version."""

    stable: int = 0
    """The stable version; 0 if there is none."""
    canary: int = 0
    """The canary version; 0 if there is none."""
    canary_share: float = 0.0
    """Share of the calls to the canary, 0..1."""
    rolled_back_reason: str = ""
    """Why the last canary was rolled back; empty if it was not."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the server's catalog. Fields that come from loading are empty if the model is not loaded."""

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
    """`image`, `text`, `audio`, `row`, `series` or `record`; empty if the model takes tensors only."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    licence: str
    provenance: str
    paper: str
    weights_sha256: str
    parameter_count: int
    max_batch_size: int
    labels: tuple[str, ...]
    """Names of the classes; empty in lists of models."""
    device: str
    precision: str
    memory_bytes: int
    """Device memory of the model, `weights_bytes` of it for weights."""
    load_s: float
    weights_bytes: int = 0
    growth_bytes: int | None = None
    """Growth of the server's memory during the load; None if it could not be measured."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """Every option with the value in effect."""
    evidence: Evidence | None = None
    decisions: tuple[Decisions, ...] = ()
    """Of a fine-tuned version: the comparisons with fp32, the latest last."""
    carried_by: str = ""
    """Of a fine-tuned head: the model whose network it uses, its base or the fp32 runtime of its base."""
    note: str = ""
    """Why tier or precision differ from those of the base or from the options; empty if they do not."""
    base: str = ""
    """The model it was fine-tuned from; empty for a model of the zoo."""
    traffic: Traffic = field(default_factory=Traffic)
    """Routing of calls that name no version."""
    columns: tuple[TableColumn, ...] = ()
    """Columns of a row or record; empty in lists of models, as the next two fields are."""
    target_column: str = ""
    """Column of the training table that the model predicts; no input row has it."""
    ignored_columns: tuple[str, ...] = ()
    """Further columns of the training table that are no input."""
    damaged: str = ""
    """One sentence that says what cannot be read: the card, or every version. Empty if the model can be served."""
    sample_text: str = ""
    """A text that it takes, if not every sentence is one: with its own mask, or of its own symbols. Empty in lists of models."""


@dataclass(frozen=True, slots=True)
class UnloadedModel(ModelInfo):
    """An unloaded model with the memory that it held and that was freed; both 0 if it was not loaded."""

    held_bytes: int = 0
    freed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class UpdatedModel(ModelInfo):
    """A model after a change of its options."""

    at_next_load: tuple[str, ...] = ()
    """Changed options that take effect at the next load."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Whether a server answers (live) and may serve (ready), and its catalog with states."""

    live: bool
    ready: bool
    models: tuple[ModelInfo, ...] = field(default=())
    problem: str = ""
    """One sentence that says why the catalog is not available; empty if it is."""
    reason: str = ""
    """The same as a word for programs, `TLS_REQUIRED` for example; empty if nothing is known beside the sentence."""


def state_value(name: str) -> pb.ModelState.ValueType:
    """The number of a state such as `READY`; UNSPECIFIED for an empty word. Raises ValueError for an unknown word."""
    return pb.ModelState.Value(_STATE_PREFIX + name.upper()) if name else pb.MODEL_STATE_UNSPECIFIED


def read_model(message: pb.Model) -> ModelInfo:
    """A model from its message."""
    return ModelInfo(**_fields(message))


@dataclass(frozen=True, slots=True)
class PulledModel:
    """A network that was pulled."""

    model: ModelInfo
    """The model, which is not loaded."""
    already_present: bool
    """Whether the server had it before."""


def read_unloaded(message: pb.UnloadModelResponse) -> UnloadedModel:
    """An unloaded model from the reply."""
    return UnloadedModel(**_fields(message.model), held_bytes=message.held_bytes, freed_bytes=message.freed_bytes)


def read_updated(message: pb.UpdateModelResponse) -> UpdatedModel:
    """A model with changed options from the reply."""
    later = tuple(path.removeprefix(_OPTIONS_PREFIX) for path in message.at_next_load)
    return UpdatedModel(**_fields(message.model), at_next_load=later)


def update_request(name: str, options: Mapping[str, Option | None]) -> pb.UpdateModelRequest:
    """The request that changes options; None resets an option to its default. Raises BadInput for values that cannot be sent."""
    request = pb.UpdateModelRequest(model=pb.Model(name=name))
    request.update_mask.paths.extend(f"{_OPTIONS_PREFIX}{option}" for option in options)
    for option, value in options.items():
        known = pb.ModelOptions.DESCRIPTOR.fields_by_name.get(option)
        if known is None or value is None:  # the server rejects an unknown option and names the known ones
            continue
        try:
            # protobuf accepts a bool for a number, and the reverse
            if isinstance(value, bool) != isinstance(known.default_value, bool):
                raise TypeError
            setattr(request.model.options, option, value)
        except (TypeError, ValueError):
            kind = {bool: "true or false", str: "a word", int: "a whole number"}.get(
                type(known.default_value), "a number"
            )
            raise BadInput(f"options.{option}: expected {kind}, got {value!r}") from None
    return request


def _fields(message: pb.Model) -> dict[str, Any]:
    runtime = message.runtime
    return {
        "name": message.name,
        "family": message.family,
        "task": message.task,
        "summary": message.summary,
        "state": enum_word(pb.ModelState, message.state, _STATE_PREFIX),
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
        "sample_text": message.sample_text,
    }


def read_traffic(message: pb.Traffic) -> Traffic:
    """Routing from its message."""
    return Traffic(message.stable, message.canary, message.canary_share, message.rolled_back_reason)


def read_decisions(runtime: pb.Runtime) -> tuple[Decisions, ...]:
    """The comparisons with fp32 of a runtime."""
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
        compiler=message.compiler,
    )


def _spec(message: pb.TensorSignature) -> TensorSpec:
    return TensorSpec(message.name, message.datatype, tuple(message.shape))

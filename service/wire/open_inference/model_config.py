"""Describes a model in Triton's terms: metadata, configuration, statistics and repository index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from service.errors import InvalidInput
from service.observability.statistics import BatchStatistics, ModelStatisticsSnapshot, Total
from service.pb import open_inference_pb2 as pb
from service.registry.states import ModelState
from service.tasks.image.pixels import pixels_input
from service.wire.open_inference.option_parameters import kernel_names
from service.wire.open_inference.raw_inputs import LABEL_TEXTS, TEXT_PAIR, needs_pairs, takes_label_texts, takes_pairs

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.cards.signature import TensorSpec
    from service.engine.tier_report import TierReport
    from service.registry.model_status import ModelStatus, RuntimeInfo, VersionStatus

PLATFORM = "pytorch"
BACKEND = "zoo"
LABELS = "labels.txt"

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""Triton's names of the extensions that always work here; tools decide by them which methods to call."""
SHARED_MEMORY = "system_shared_memory"
"""The extension that a setting turns on."""


# ── metadata and configuration ────────────────────────────────────────────────────────────────────────────────


def shown_inputs(card: Card) -> list[tuple[str, str, list[int]]]:
    """Name, datatype and shape of the inputs a model shows: its raw input or its tensors, as the card prefers."""
    if card.canonical == "raw":
        names = [card.raw_input, TEXT_PAIR] if needs_pairs(card) else [card.raw_input]
        texts = [(LABEL_TEXTS, "BYTES", [-1, -1])] if takes_label_texts(card) else []
        return [*((name, "BYTES", [-1, 1]) for name in names), *texts]
    return [_shown(spec) for spec in card.signature.inputs]


def _shown(spec: TensorSpec) -> tuple[str, str, list[int]]:
    return spec.name, spec.datatype, list(spec.shape)


def _other_inputs(card: Card) -> dict[str, str]:
    """What a caller may send in place of the inputs that a model shows: its tensors, or its raw input."""
    if card.canonical == "raw":
        listed = [f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in card.signature.inputs]
        return {"tensor_inputs": ", ".join(listed)}
    return {"raw_input": f"{card.raw_input} BYTES [-1, 1]"} if card.raw_input else {}


def metadata(status: ModelStatus) -> pb.ModelMetadataResponse:
    """A model's versions and tensors; shapes begin with -1 for the rows."""
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=status.name,
        versions=[str(version) for version in status.versions],
        platform=PLATFORM,
        inputs=[tensor(name=n, datatype=d, shape=s) for n, d, s in shown_inputs(status.card)],
        outputs=[tensor(name=n, datatype=d, shape=s) for n, d, s in map(_shown, status.card.signature.outputs)],
    )


def config(status: ModelStatus) -> pb.ModelConfig:
    """How a model is batched and where it runs. Dims leave out the rows axis, which `max_batch_size` > 0 implies."""
    card = status.card
    parameters = {"family": card.family, "task": card.task, **_other_inputs(card)}
    if (pixels := pixels_input(card)) is not None:  # no input of the config: tools send every input that they see
        spec = pixels.spec
        parameters["alternative_input"] = (
            f"{spec.name} {spec.datatype} {list(spec.shape)} in place of {pixels.replaces}"
        )
    if takes_pairs(card) and not needs_pairs(card):
        parameters["optional_input"] = f"{TEXT_PAIR} BYTES [-1, 1] beside {card.raw_input}"
    if names := kernel_names(card):
        parameters["kernels"] = ", ".join(names)
    if status.runtime is not None:
        parameters |= {"device": status.runtime.device, "precision": status.runtime.precision}
        parameters |= _tier_parameters(status.runtime.tier_report, status.runtime.tiers_pending)
    return pb.ModelConfig(
        name=status.name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=status.max_batch_size,
        input=[
            pb.ModelInput(name=name, data_type=_data_type(datatype), dims=shape[1:])
            for name, datatype, shape in shown_inputs(card)
        ],
        output=[
            pb.ModelOutput(
                name=spec.name,
                data_type=_data_type(spec.datatype),
                dims=spec.shape[1:],
                label_filename=LABELS if status.labels and spec.shape[-1] == len(status.labels) else "",
            )
            for spec in card.signature.outputs
        ],
        instance_group=[] if status.runtime is None else [_instance_group(status.name, status.runtime)],
        dynamic_batching=pb.ModelDynamicBatching(
            max_queue_delay_microseconds=round(status.max_queue_delay_s * 1e6),
            default_queue_policy=pb.ModelQueuePolicy(
                timeout_action=pb.ModelQueuePolicy.REJECT,
                allow_timeout_override=True,
                max_queue_size=status.max_queue_size,
            ),
        ),
        parameters={key: pb.ModelParameter(string_value=value) for key, value in parameters.items()},
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=False),
    )


def _tier_parameters(report: TierReport | None, pending: bool = False) -> dict[str, str]:
    """The runtime and its measurements, by names that begin with `tier`; figures only where something was measured."""
    if report is None:
        return {}
    # For programs that wait for the last tier; the reason is for people.
    shown: dict[str, str] = {"tier": report.tier, "tier_state": "pending" if pending else "final"}
    if report.compiler:
        shown["tier_compiler"] = report.compiler
    if report.processes:
        shown["tier_processes"] = str(report.processes)
    if report.length_step:
        shown["tier_length_step"] = str(report.length_step)
    if report.reason:
        shown["tier_reason"] = report.reason
    if not report.candidate:
        return shown
    shown["tier_candidate"] = report.candidate
    if report.compile_s:
        shown |= {"tier_compile_seconds": f"{report.compile_s:g}", "tier_cached": str(report.cached).lower()}
    if report.cosine:
        shown |= {"tier_max_error": f"{report.max_error:.3g}", "tier_cosine": f"{report.cosine:.6f}"}
    if report.top1_agreement is not None:
        shown["tier_top1_agreement"] = f"{report.top1_agreement:.4f}"
    if report.speedup:
        shown |= {
            "tier_speedup": f"{report.speedup:.2f}",
            "tier_single_speedup": f"{report.single_speedup:.2f}",
            "tier_rows_per_second": f"{report.rows_per_s:.1f}",
            "tier_rows_per_second_before": f"{report.rows_per_s_before:.1f}",
        }
    return shown


def _data_type(datatype: str) -> pb.DataType.ValueType:
    return pb.DataType.Value("TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}")


def _instance_group(name: str, runtime: RuntimeInfo) -> pb.ModelInstanceGroup:
    kind, _, number = runtime.device.partition(":")
    if kind == "cpu":
        return pb.ModelInstanceGroup(name=f"{name}_0", kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    return pb.ModelInstanceGroup(
        name=f"{name}_0", kind=pb.ModelInstanceGroup.KIND_GPU, count=1, gpus=[int(number or 0)]
    )


# ── statistics ────────────────────────────────────────────────────────────────────────────────────────────────


def statistics(
    statuses: Iterable[ModelStatus], snapshots: Iterable[ModelStatisticsSnapshot], version: int | None
) -> pb.ModelStatisticsResponse:
    """One entry for every version that is loaded or ever had a request; zeros where it had none."""
    by_model: dict[str, dict[int, ModelStatisticsSnapshot]] = {}
    for snapshot in snapshots:
        by_model.setdefault(snapshot.model, {})[snapshot.version] = snapshot
    response = pb.ModelStatisticsResponse()
    for status in statuses:
        known = by_model.get(status.name, {})
        for number in sorted({*status.versions, *known}):
            if version in (None, number):
                snapshot = known.get(number) or ModelStatisticsSnapshot(status.name, number)
                response.model_stats.append(_model_statistics(snapshot, status))
    return response


def asked_version(status: ModelStatus, version: str) -> int | None:
    """The version number of a number or of an alias that the registry knows; None for every version."""
    if version.isdecimal():
        return int(version)
    return status.aliases.get(version)  # an alias of a model that is not loaded has no number yet


def _model_statistics(snapshot: ModelStatisticsSnapshot, status: ModelStatus) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=snapshot.model,
        version=str(snapshot.version),
        last_inference=snapshot.last_inference_ms,
        inference_count=snapshot.inference_count,
        execution_count=snapshot.execution_count,
        inference_stats=pb.InferStatistics(
            success=_duration(snapshot.success),
            fail=_duration(snapshot.fail),
            queue=_duration(snapshot.queue),
            compute_input=_duration(snapshot.compute_input),
            compute_infer=_duration(snapshot.compute_infer),
            compute_output=_duration(snapshot.compute_output),
        ),
        batch_stats=[_batch(batch) for batch in snapshot.batches],
        memory_usage=[_memory(status.runtime)] if status.runtime and snapshot.version in status.versions else [],
    )


def _batch(batch: BatchStatistics) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=batch.rows,
        compute_input=_duration(batch.compute_input),
        compute_infer=_duration(batch.compute_infer),
        compute_output=_duration(batch.compute_output),
    )


def _memory(runtime: RuntimeInfo) -> pb.MemoryUsage:
    kind, _, number = runtime.device.partition(":")
    return pb.MemoryUsage(type="CPU" if kind == "cpu" else "GPU", id=int(number or 0), byte_size=runtime.memory_bytes)


def _duration(total: Total) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=total.count, ns=total.ns)


# ── repository ────────────────────────────────────────────────────────────────────────────────────────────────


def index(models: Iterable[tuple[ModelStatus, Sequence[VersionStatus]]], ready: bool) -> pb.RepositoryIndexResponse:
    """The catalog: every version of a tuned model with its own state; the one version of a model of the zoo where it is loaded,
    and an entry without a version where it is not."""
    response = pb.RepositoryIndexResponse()
    for status, versions in models:
        if status.base:
            entries = [(str(v.number), v.state, v.reason) for v in sorted(versions, key=lambda v: v.number)]
        else:
            entries = [(str(number), status.state, status.reason) for number in status.versions or ("",)]
        for version, state, reason in entries:
            if state is ModelState.READY or not ready:
                response.models.add(name=status.name, version=version, state=str(state), reason=reason)
    return response


def repository_model(
    request: pb.RepositoryModelLoadRequest | pb.RepositoryModelUnloadRequest, accepted: Sequence[str] = ()
) -> tuple[str, bool]:
    """Name of the model to load or unload, and whether the request follows KServe's variant (name in field 1)."""
    _refuse_overrides(request.parameters, accepted)
    if request.model_name:
        return request.model_name, False
    if request.repository_name:
        return request.repository_name, True
    raise InvalidInput("model_name", "expected the name of a model, got none")


def _refuse_overrides(parameters: Mapping[str, pb.ModelRepositoryParameter], accepted: Sequence[str]) -> None:
    for key in parameters:
        if key not in accepted:
            raise InvalidInput(f"parameters[{key}]", "not supported: a model is served as the catalog has it")

"""Models and their versions → messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model_zoo.cards.card import (
    Card,
)
from model_zoo.cards.recipes import (
    RecordRecipe,
    RowRecipe,
)
from model_zoo.cards.signature import (
    TensorSpec,
)
from model_zoo.cards.weight_source import (
    TrainedColumns,
    TunedSource,
)
from model_zoo.golden.sample_text import sample_text
from service.engine.decisions import (
    Decisions,
)
from service.engine.tier_report import TierReport
from service.pb import models_pb2 as pb
from service.registry.model_status import (
    ModelStatus,
    RuntimeInfo,
    Traffic,
    VersionStatus,
)
from service.registry.states import ModelState
from service.wire.times import duration, struct, timestamp

STATES = {
    ModelState.LOADING: pb.MODEL_STATE_LOADING,
    ModelState.READY: pb.MODEL_STATE_READY,
    ModelState.UNLOADING: pb.MODEL_STATE_UNLOADING,
    ModelState.UNAVAILABLE: pb.MODEL_STATE_UNAVAILABLE,
}


def write_model(status: ModelStatus) -> pb.Model:
    """A model's status as a message, without its labels and columns."""
    card = status.card
    model = pb.Model(
        name=status.name,
        family=card.family,
        task=card.task,
        summary=card.summary,
        state=STATES[status.state],
        state_reason=status.reason,
        versions=status.versions,
        aliases=dict(status.aliases),
        raw_input=card.raw_input,
        inputs=[_write_tensor(spec) for spec in card.signature.inputs],
        outputs=[_write_tensor(spec) for spec in card.signature.outputs],
        origin=pb.Origin(
            licence=card.licence.weights,
            provenance=card.provenance,
            paper=card.paper,
            weights_sha256=card.weights_sha256,
        ),
        parameter_count=card.parameters,
        max_batch_size=status.max_batch_size,
        options=pb.ModelOptions(**status.options.model_dump(exclude_none=True)),
        base=status.base,
        traffic=write_traffic(status.traffic),
    )
    if status.runtime is not None:
        model.runtime.CopyFrom(_write_runtime(status.runtime))
    return model


def write_damaged_model(name: str, why: str) -> pb.Model:
    """A model of which nothing can be read."""
    return pb.Model(name=name, state=pb.MODEL_STATE_UNAVAILABLE, state_reason=why, damaged=why)


def write_inputs(model: pb.Model, card: Card) -> None:
    """The columns that a model of rows, records, series or texts takes, the columns of its training table that it does not need,
    and a text that it takes where not every sentence is one."""
    model.sample_text = sample_text(card)
    row = card.recipe.row if isinstance(card.recipe, RecordRecipe) else card.recipe
    trained = card.source.columns if isinstance(card.source, TunedSource) else None
    trained = trained or TrainedColumns()
    if isinstance(row, RowRecipe):
        for number in row.numbers:
            model.columns.add(name=number.name, kind="number")
        for category in row.categories:
            model.columns.add(name=category.name, kind="category", categories=category.categories)
    for channel in trained.channels:
        model.columns.add(name=channel, kind="number")
    for kind in ("text", "text_pair", "image", "time", "series"):
        if name := getattr(trained, kind):
            model.columns.add(name=name, kind=kind)
    described = row if isinstance(row, RowRecipe) else trained
    # A series of several channels has no single target.
    model.target_column = "" if trained.channels else described.target
    ignored = (*described.ignored, trained.split, *trained.ignored)
    model.ignored_columns.extend(dict.fromkeys(filter(None, ignored)))


def write_traffic(traffic: Traffic) -> pb.Traffic:
    """The versions that requests without a version go to."""
    return pb.Traffic(
        stable=traffic.stable,
        canary=traffic.canary,
        canary_share=traffic.canary_share,
        rolled_back_reason=traffic.rolled_back_reason,
    )


def write_version(status: VersionStatus) -> pb.ModelVersion:
    """One version of a model. A version whose damage shows only here is written as damaged."""
    try:
        return _write_version(status)
    except (ValueError, TypeError, AttributeError, OverflowError):  # a wrong value in `lineage.json`
        return _write_version(replace(status, lineage=None, created=None, damaged="its lineage holds a wrong value"))


def _write_version(status: VersionStatus) -> pb.ModelVersion:
    return pb.ModelVersion(
        number=status.number,
        state=STATES[status.state],
        state_reason=status.reason,
        aliases=status.aliases,
        lineage=None if status.lineage is None else _write_lineage(status.lineage),
        create_time=timestamp(status.created),
        size_bytes=status.size_bytes,
        memory_bytes=status.memory_bytes,
        runtime=None if status.runtime is None else _write_runtime(status.runtime),
        damaged=status.damaged,
    )


def _write_lineage(lineage: Mapping[str, Any]) -> pb.Lineage:
    """`lineage.json` as its job wrote it."""
    words = ("base", "base_sha256", "dataset_id", "dataset_sha256", "method", "job_id", "zoo_version", "task")
    return pb.Lineage(
        **{word: str(lineage.get(word) or "") for word in words},
        seed=int(lineage.get("seed") or 0),
        hyperparameters=struct(lineage.get("hyperparameters") or {}),
        metrics=_numbers(lineage.get("metrics")),
        baseline_metrics=_numbers(lineage.get("baseline_metrics")),
        training_duration=duration(float(lineage.get("training_seconds") or 0.0)),
    )


def _numbers(values: Mapping[str, Any] | None) -> dict[str, float]:
    """The finite numbers among them; a value that could not be measured is null in JSON."""
    numbers = {name: float(value) for name, value in (values or {}).items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _write_runtime(info: RuntimeInfo) -> pb.Runtime:
    return pb.Runtime(
        device=info.device,
        precision=info.precision,
        memory_bytes=info.memory_bytes,
        load_duration=duration(info.load_s),
        weights_bytes=info.weights_bytes,
        growth_bytes=info.growth_bytes,
        evidence=_write_evidence(info.tier_report) if info.tier_report is not None else None,
        decisions=[_write_decisions(decisions) for decisions in info.decisions],
        carried_by=info.carried_by,
        note=info.note,
    )


def _write_decisions(decisions: Decisions) -> pb.Decisions:
    figures = decisions.model_dump()
    return pb.Decisions(example_count=figures.pop("examples"), **figures)


def _finite(figure: float) -> float:
    """The figure; 0, which means not measured, where it is not finite."""
    return figure if math.isfinite(figure) else 0.0


def _write_evidence(evidence: TierReport) -> pb.Evidence:
    agreement = evidence.top1_agreement
    return pb.Evidence(
        tier=evidence.tier,
        precision=evidence.precision,
        candidate=evidence.candidate,
        speedup=_finite(evidence.speedup),
        rows_per_second=_finite(evidence.rows_per_s),
        rows_per_second_before=_finite(evidence.rows_per_s_before),
        single_speedup=_finite(evidence.single_speedup),
        max_error=_finite(evidence.max_error),
        cosine=_finite(evidence.cosine),
        top1_agreement=agreement if agreement is None or math.isfinite(agreement) else None,
        compile_duration=duration(evidence.compile_s),
        cached=evidence.cached,
        reason=evidence.reason,
        processes=evidence.processes,
        length_step=evidence.length_step,
        compiler=evidence.compiler,
    )


def _write_tensor(spec: TensorSpec) -> pb.TensorSignature:
    return pb.TensorSignature(name=spec.name, datatype=spec.datatype, shape=spec.shape)

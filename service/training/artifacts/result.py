"""Writes a job's result: a version folder, complete by rename. `model_zoo/version_folder.py` describes its files."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import SourceFile, TrainedColumns, TunedSource
from model_zoo.golden.golden_items import write_golden_items
from model_zoo.golden.held_out import HELD_OUT, HeldOut, write_held_out
from model_zoo.materialised import Materialised
from model_zoo.system_errors import system_errors
from service import __version__
from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, Splits
from service.training.artifacts.html_report import render_page
from service.training.artifacts.tuned_card import NO_DIGEST
from service.training.data.accounting import Accounting
from service.training.evaluation.intervals import Value
from service.training.evaluation.measurements import Evaluation
from service.training.evaluation.mistakes import Mistake
from service.training.job_spec import Method, WorkOrder
from service.training.protocol import Metric
from service.types import Tensors

RESULT = "result"
DRAFT = ".result-draft"
MANIFEST_VERSION = 1


def write_result(
    order: WorkOrder,
    folder: Path,
    *,
    base: Card,
    base_files: Materialised | None,
    dataset: DatasetInfo,
    card: Card,
    state: Mapping[str, Tensor],
    golden: Sequence[tuple[Tensors, Tensors]],
    evaluation: Evaluation,
    curves: Sequence[Metric],
    hyperparameters: Mapping[str, Any],
    splits: Splits,
    mistakes: Sequence[Mistake],
    training_s: float,
    held_out: HeldOut | None = None,
    accounting: Accounting | None = None,
) -> None:
    """Writes `folder/result/`, or leaves nothing there. Replaces the result of an earlier attempt.

    Args:
        card: without `source.files`, which are added here.
        state: tensors as `model_zoo.network.load_network` reads them.
        golden: inputs and outputs of a few items, as single rows without the rows axis.
        held_out: answers by which a server checks the version on another tier or in another precision; None if the task has no
            such check.
    """
    draft, final = folder / DRAFT, folder / RESULT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    roles = {"weights": "model.safetensors"}
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with system_errors(draft / roles["weights"]):
        save_file(weights, draft / roles["weights"], metadata={"format": "pt"})
    if card.labels is not None:
        roles["labels"] = card.labels
        write_labels(draft / card.labels, evaluation.labels)
    if order.spec.method is Method.FULL and base_files is not None:
        # A version of method head or lora uses the base's own files.
        for role, path in base_files.files.items():
            if role != "labels":
                roles[role] = path.name
                shutil.copyfile(path, draft / path.name)
    source = card.source
    assert isinstance(source, TunedSource)
    files = {role: _source_file(draft / name) for role, name in roles.items()}
    digest = base_files.digest if base_files else NO_DIGEST
    source = source.model_copy(update={"files": files, "base_digest": digest, "columns": _trained_columns(dataset)})
    card = card.model_copy(update={"source": source})

    write_golden_items(draft / "golden.safetensors", golden)
    if held_out is not None:
        roles["held_out"] = HELD_OUT
        write_held_out(draft / HELD_OUT, held_out.thinned())
    (draft / "card.json").write_text(strict_json.text(card, indent=1, ascii_only=False), encoding="utf-8")
    lineage = lineage_of(order, base, dataset, source.base_digest, evaluation, hyperparameters, training_s)
    report = report_of(order, evaluation, curves, splits, mistakes)
    report["accounting"] = None if accounting is None else asdict(accounting)
    _write_json(draft / "lineage.json", lineage)
    _write_json(draft / "report.json", report)
    _write_json(draft / "curves.json", report["curves"])
    html = render_page(card, evaluation, dataset, lineage, splits, curves, mistakes, accounting)
    (draft / "report.html").write_text(html, encoding="utf-8")
    roles |= {
        "card": "card.json",
        "golden": "golden.safetensors",
        "lineage": "lineage.json",
        "report": "report.json",
        "page": "report.html",
        "curves": "curves.json",
    }
    for name in roles.values():
        _sync(draft / name)
    entries = {
        role: {"name": name, "bytes": (draft / name).stat().st_size, "sha256": _source_file(draft / name).sha256}
        for role, name in sorted(roles.items())
    }
    _write_json(draft / "manifest.json", {"converter": MANIFEST_VERSION, "files": entries})
    _sync(draft / "manifest.json")
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)


def lineage_of(
    order: WorkOrder,
    base: Card,
    dataset: DatasetInfo,
    base_digest: str,
    evaluation: Evaluation,
    hyperparameters: Mapping[str, Any],
    training_s: float,
) -> dict[str, Any]:
    """The lineage of a version: everything that is needed to train it again. The key `rival` is the incumbent."""
    incumbent = None
    if evaluation.incumbent is not None and order.rival is not None:
        incumbent = {"version": int(order.rival.name), "metrics": dict(evaluation.incumbent.metrics)}
    return {
        "base": base.name,
        "base_sha256": base_digest,
        "dataset_id": dataset.id,
        "dataset_sha256": dataset.sha256,
        "method": order.spec.method.value,
        "job_id": order.job_id,
        "seed": order.spec.seed,
        "hyperparameters": dict(hyperparameters),
        "zoo_version": __version__,
        "task": evaluation.task,
        "metrics": evaluation.metric_values(),
        "baseline_metrics": dict(evaluation.baseline.metrics),
        "rival": incumbent,
        "created": time.time(),
        "training_seconds": round(training_s, 3),
    }


def report_of(
    order: WorkOrder,
    evaluation: Evaluation,
    curves: Sequence[Metric],
    splits: Splits,
    mistakes: Sequence[Mistake],
) -> dict[str, Any]:
    """The measurements of a version on held-out data, for programs. The key `rival` is the incumbent; `threshold` is the
    probability from which one of several classes counts as named."""
    incumbent = None
    if evaluation.incumbent is not None and order.rival is not None:
        difference = _value_fields(evaluation.incumbent.difference)
        incumbent = {
            "version": int(order.rival.name),
            "metrics": dict(evaluation.incumbent.metrics),
            "difference": difference,
        }
    confusion = None
    if evaluation.confusion is not None:
        confusion = {"labels": list(evaluation.labels), "matrix": evaluation.confusion.tolist()}
    calibration = None
    if evaluation.ece is not None:
        calibration = {"ece": evaluation.ece, "bins": [asdict(b) for b in evaluation.bins]}
    return {
        "task": evaluation.task,
        "examples": evaluation.examples,
        "metrics": {name: _value_fields(value) for name, value in evaluation.metrics.items()},
        "baseline": {**evaluation.baseline.metrics, "kind": evaluation.baseline.kind},
        "rival": incumbent,
        "not_compared": evaluation.not_compared,
        "without_value": list(evaluation.without_value),
        "primary": evaluation.primary,
        "higher_is_better": evaluation.higher_is_better,
        **({"threshold": 0.5} if evaluation.multi_label else {}),
        "per_class": [asdict(c) for c in evaluation.per_class],
        "confusion": confusion,
        "calibration": calibration,
        "column_importance": None if evaluation.column_importance is None else asdict(evaluation.column_importance),
        "splits": {name: len(splits.get(name, ())) for name in ("train", "validation", "test")},
        "mistakes": [
            {name: value for name, value in asdict(m).items() if name not in ("picture", "text")} for m in mistakes
        ],
        "curves": [metric.model_dump() for metric in curves],
    }


def _trained_columns(dataset: DatasetInfo) -> TrainedColumns | None:
    """The roles of the table's columns, so that the version can read similar files; None if there was no table."""
    found = dataset.columns
    if found == Columns() and not dataset.inputs:
        return None
    channels = tuple(column.name for column in dataset.inputs) if dataset.kind is DatasetKind.SERIES else ()
    return TrainedColumns(**found.model_dump(), channels=channels)


def write_labels(path: Path, labels: Sequence[str]) -> None:
    """Writes class names, one a line, as `service.tasks.table.read_labels` reads them. A line break in a name becomes a space."""
    path.write_bytes("".join(label.replace("\n", " ") + "\n" for label in labels).encode())


def _value_fields(value: Value) -> dict[str, float]:
    return {"value": value.value, "low": value.low, "high": value.high}


def _source_file(path: Path) -> SourceFile:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return SourceFile(path=path.name, sha256=digest, bytes=path.stat().st_size)


def _write_json(path: Path, document: object) -> None:
    path.write_text(strict_json.text(strict_json.with_nulls(document), indent=1, ascii_only=False), encoding="utf-8")


def _sync(path: Path) -> None:
    """Writes a file to disk before the rename that publishes it; a power cut could otherwise publish an empty file."""
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())

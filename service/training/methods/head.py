"""Method `head`: a frozen backbone whose features are computed once, and a linear or small MLP head that trains in seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from model_zoo.architectures.tuned import (
    Head,
    TunedNetwork,
)
from model_zoo.cards.card import (
    Card,
)
from model_zoo.cards.recipes import (
    RecordRecipe,
    RowRecipe,
)
from model_zoo.cards.tuned_parts import TargetScale
from model_zoo.cards.weight_source import (
    TunedSource,
)
from model_zoo.golden.held_out import HeldOut
from service.rounding import (
    format_apart,
)
from service.tasks.table import read_labels, task_for
from service.tasks.tabular.row_input import columns_of, columns_width
from service.training.artifacts.finalize import preparation_files, write_version
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.feature_inputs import check_pairs, pair_recipe
from service.training.data.features import Features, backbone_features, in_fp32, load_eager
from service.training.data.prepared import PreparedExamples
from service.training.data.rows import known_table_recipe, record_recipe, row_of
from service.training.data.targets import SplitTargets
from service.training.evaluation.column_importance import HeldOutRows, column_importances
from service.training.evaluation.conformal import with_interval
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.incumbent import incumbent_predictions
from service.training.evaluation.measurements import Evaluation, Predictions
from service.training.failures import CannotTrain
from service.training.heads.fit import FittedHead, fit_head
from service.training.heads.labelled_features import LabelledFeatures
from service.training.job_spec import WorkOrder
from service.training.loop.criteria import in_units
from service.training.methods.held_out_rows import held_out_rows, rows_of_head
from service.training.protocol import FEATURES_SHARE, Finished, Log, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job
from service.types import Array, Item, Tensors

GOLDEN_ITEMS = 4
"""Held-out items in the version folder that a server checks when it loads the version."""


@dataclass(frozen=True)
class _HeadData:
    """Usable examples with features: the inputs of the head, and its targets, by split."""

    job: TrainingJob
    features: Features
    recipe: RecordRecipe | None
    """How rows beside images are read; None if the examples have none."""
    splits: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, NDArray[np.float32]]
    """(n, D)."""
    targets: SplitTargets

    @property
    def columns(self) -> int:
        """How many of the inputs, the last ones, are a row's columns."""
        return 0 if self.recipe is None else columns_width(self.recipe.row)

    @property
    def test(self) -> str:
        """The split on which the result is measured."""
        return "test" if self.splits["test"] else "validation"

    def labelled(self, split: str) -> LabelledFeatures:
        """The examples of a split as the head learns from them."""
        return LabelledFeatures(torch.from_numpy(self.inputs[split]), self.targets.for_training(split))


def train_head(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job of method `head`: features, head, held-out metrics, `result/`. Sends Finished, the final message."""
    began = time.monotonic()
    job = open_job(order, folder)
    data = _prepare(job, send, stop)
    send(Progress(phase="training", ratio=FEATURES_SHARE))
    fitted = fit_head(
        data.labelled("train"),
        data.labelled("validation"),
        len(job.labels) or None,
        job.hparams,
        kind=str(job.hparams.head) if "head" in order.spec.hyperparameters else None,
        output="logits" if job.classifies else "value",
        seed=order.spec.seed,
        stop=stop,
        on_metric=send,
        columns=data.columns,
    )
    send(Progress(phase="evaluation", ratio=0.9))
    stop.check()
    # The final head may have learned from the validation data: they are measured by the outputs of the head before it.
    raw = _run(fitted.head, data.inputs["test"]) if data.splits["test"] else fitted.validation_outputs
    scale = data.targets.scale
    if scale is not None and data.splits["validation"]:
        validation_outputs = in_units(fitted.validation_outputs, scale)
        scale = with_interval(scale, validation_outputs, data.targets.values["validation"])
    outputs = raw if scale is None else in_units(raw, scale)
    held_out = Predictions(outputs, data.targets.for_evaluation(data.test), data.splits[data.test])
    incumbent = _incumbent_head_predictions(job, held_out, data.inputs[data.test])
    evaluation = evaluate(
        job.task,
        job.labels,
        held_out,
        data.targets.for_evaluation("train"),
        seed=order.spec.seed,
        incumbent=incumbent or incumbent_predictions(job, held_out, stop),
        check=stop.check,
    )
    card = _tuned_card(data, fitted, scale, float(np.abs(raw).max()))
    if (rows := _rows(data, card, fitted.head)) is not None:
        importances = column_importances(evaluation, held_out.targets, rows, seed=order.spec.seed, stop=stop)
        evaluation = replace(evaluation, column_importance=importances)

    send(Progress(phase="publishing", ratio=0.97))
    stop.check()
    reference = _reference(data, fitted.head, stop)
    write_version(
        job,
        card=card,
        state={f"head.{name}": tensor for name, tensor in fitted.head.state_dict().items()},
        golden=_golden(job, card, reference.indices.tolist(), reference.outputs),
        evaluation=evaluation,
        held_out=held_out,
        curves=fitted.curves,
        hyperparameters=_hyperparameters(job, fitted),
        splits=data.splits,
        training_s=time.monotonic() - began,
        reference=reference,
    )
    _send_summary(evaluation, send)
    send(Finished(metrics=evaluation.metric_values()))


def _prepare(job: TrainingJob, send: SendMessage, stop: StopSignal) -> _HeadData:
    check_pairs(job.base, job.files, job.info)
    features = backbone_features(job, send, stop)
    recipe = record_recipe(job)
    splits = _usable_splits(job, features, send)
    inputs = {name: _inputs(job, features.rows[list(indices)], recipe, indices) for name, indices in splits.items()}
    return _HeadData(job, features, recipe, splits, inputs, SplitTargets.of(job, splits))


def _usable_splits(job: TrainingJob, features: Features, send: SendMessage) -> dict[str, tuple[int, ...]]:
    splits = {name: features.usable(indices) for name, indices in job.splits.items()}
    if not splits["train"]:
        raise CannotTrain("not one training example could be prepared")
    if not splits["test"]:
        if not splits["validation"]:
            raise CannotTrain("there are no data to measure the result on; give the data set more examples")
        text = "there are no test data: the result is measured on validation data, and looks better"
        send(Log(level="warning", text=text))
    return splits


def _inputs(
    job: TrainingJob, rows: NDArray[np.float32], recipe: RecordRecipe | None, indices: Sequence[int]
) -> NDArray[np.float32]:
    """The inputs of the head for examples, `(n, D)`: the backbone's features, `rows`, and then the columns of the example's
    row."""
    if recipe is None or not len(indices):
        width = 0 if recipe is None else columns_width(recipe.row)
        return np.concatenate([rows, np.zeros((len(rows), width), np.float32)], axis=1)
    columns = np.stack([columns_of(recipe.row, row_of(job, i).cells) for i in indices])
    return np.concatenate([rows, columns], axis=1)


def _tuned_card(data: _HeadData, fitted: FittedHead, scale: TargetScale | None, largest: float) -> Card:
    """`largest`: the largest absolute output on held-out data."""
    job = data.job
    assert job.files is not None
    return tuned_card(
        job.base,
        job.order,
        task=job.task,
        labels=job.labels,
        multi_label=job.multi_label,
        head=fitted.head.spec,
        target=scale,
        recipe=data.recipe or known_table_recipe(job) or pair_recipe(job.base, job.info),
        parameters=job.base.parameters + sum(p.numel() for p in fitted.head.parameters()),
        base_digest=job.files.digest,
        output_size=largest,
    )


def _rows(data: _HeadData, card: Card, head: Head) -> HeldOutRows | None:
    """The held-out rows, if the examples have any."""
    job = data.job
    if data.recipe is not None:
        vectors = data.inputs[data.test]
        return rows_of_head(job, head, data.recipe, lambda chosen: vectors[list(chosen)], card.target)
    if not isinstance(card.recipe, RowRecipe):
        return None
    base, task = load_eager(job)
    network = TunedNetwork(base.cpu(), head)
    return held_out_rows(job, network, card, PreparedExamples(job.examples, task), data.splits[data.test], card.target)


def _reference(data: _HeadData, head: Head, stop: StopSignal) -> HeldOut:
    """The version's answers to held-out examples in fp32, even if the features came from a reduced precision."""
    job, held_out = data.job, data.splits[data.test]
    indices = np.array(held_out, np.int64)
    sample = HeldOut(job.info.id, indices, job.targets(held_out), np.zeros((len(indices), 0), np.float32)).thinned()
    chosen = sample.indices.tolist()
    rows = in_fp32(job, data.features, chosen, stop)
    return replace(sample, outputs=_run(head, _inputs(job, rows, data.recipe, chosen)))


@torch.inference_mode()
def _run(head: Head, x: NDArray[np.float32]) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = head(torch.from_numpy(x)).numpy()
    return outputs


def _incumbent_head_predictions(job: TrainingJob, held_out: Predictions, x: NDArray[np.float32]) -> Predictions | None:
    """Predictions of an incumbent that is a head on the same backbone: it runs on the features that exist. None for any other."""
    if job.order.rival is None or job.files is None:
        return None
    try:
        folder = job.order.rival
        card = Card.model_validate_json((folder / "card.json").read_bytes())
        source = card.source
        same_base = (
            isinstance(source, TunedSource) and source.method == "head" and source.base_digest == job.files.digest
        )
        if not same_base or card.task != job.task:
            return None
        if getattr(card.recipe, "pairs_only", False) != bool(job.info.columns.text_pair):
            return None  # it reads other inputs: `incumbent_predictions` reports it
        if (card.activation == "sigmoid") != job.multi_label:
            return None
        if card.head is None or card.head.columns or card.head.inputs != x.shape[1]:
            return None
        if read_labels(card, folder) != job.labels:
            return None
        head = Head(card.head).eval()
        head.load_state_dict({n.removeprefix("head."): t for n, t in load_file(folder / "model.safetensors").items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
        return None  # damaged: `incumbent_predictions` reports it
    outputs = _run(head, x)
    in_target_units = outputs if card.target is None else in_units(outputs, card.target)
    return Predictions(in_target_units, held_out.targets, held_out.indices)


def _golden(
    job: TrainingJob, card: Card, indices: Sequence[int], outputs: NDArray[np.float32]
) -> list[tuple[Tensors, Tensors]]:
    """The network's inputs of a few held-out examples, prepared by the version's task, and the head's answers in fp32."""
    task = task_for(card, preparation_files(job, card))
    examples = [job.examples[i] for i in indices[:GOLDEN_ITEMS]]
    items = task.preprocess([e.instance for e in examples], [e.origin for e in examples])
    name = card.signature.outputs[0].name
    golden: list[tuple[Tensors, Tensors]] = []
    for item, output in zip(items, outputs, strict=False):
        if isinstance(item, Item):
            answer: dict[str, Array] = {name: output}
            golden.append((item.tensors, answer))
    return golden


def _hyperparameters(job: TrainingJob, fitted: FittedHead) -> dict[str, float | int | str]:
    weights = {"class_weights": job.hparams.class_weights} if job.classifies else {}
    return {**fitted.chosen, **weights}


def _send_summary(evaluation: Evaluation, send: SendMessage) -> None:
    primary = evaluation.primary
    value = evaluation.metrics[primary].value
    ours, baseline = format_apart(value, evaluation.baseline.metrics.get(primary, float("nan")))
    send(Log(level="info", text=f"{primary} {ours} on {evaluation.examples} held-out examples; baseline {baseline}"))

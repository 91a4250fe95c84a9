"""Method `head`: frozen backbone, features computed once, a linear or small MLP head trained in seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from model_zoo.architectures.tuned import Head
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe, RecordRecipe
from model_zoo.cards.weight_source import TunedSource
from model_zoo.golden.held_out import HeldOut
from service.rounding import (
    format_apart,
)
from service.tasks.table import read_labels, task_for
from service.tasks.tabular.row_input import columns_of, columns_width
from service.training.artifacts.finalize import draft_files
from service.training.artifacts.result import write_result
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.accounting import account
from service.training.data.columns import row_recipe
from service.training.data.features import (
    SHARE,
    Features,
    backbone_features,
    in_fp32,
)
from service.training.evaluation.conformal import with_interval
from service.training.evaluation.evaluate import Evaluation, Predictions, evaluate
from service.training.evaluation.incumbent import incumbent_predictions
from service.training.evaluation.mistakes import worst_mistakes
from service.training.failures import CannotTrain
from service.training.heads.fit import FittedHead, Xy, fit_head
from service.training.job_spec import WorkOrder
from service.training.loop.criteria import target_scale, unscaled
from service.training.protocol import Finished, Log, Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say, open_job
from service.types import Array, Item, RecordInstance, RowInstance, Tensors

GOLDEN = 4
"""Held-out items that travel along to be checked at load."""


def train_head(order: WorkOrder, folder: Path, say: Say, told: StopSignal) -> None:
    """The whole of a job of method `head`: features, head, held-out figures, `result/`. Says Finished last."""
    began = time.monotonic()
    job = open_job(order, folder)
    features = backbone_features(job, say, told)
    recipe = _recipe(job)
    splits = _splits(job, features, say)
    inputs = {name: _inputs(job, features.rows[list(indices)], recipe, indices) for name, indices in splits.items()}
    targets = {name: job.targets(indices) for name, indices in splits.items()}
    scale = None if job.classifies else target_scale(targets["train"])

    def pair(name: str) -> Xy:
        y = targets[name]
        learned = y.astype(np.int64) if scale is None else ((y - scale.mean) / scale.std).astype(np.float32)
        return Xy(torch.from_numpy(inputs[name]), torch.from_numpy(learned))

    say(Progress(phase="training", ratio=SHARE))
    columns = 0 if recipe is None else columns_width(recipe.row)
    fitted = fit_head(
        pair("train"),
        pair("validation"),
        len(job.labels) or None,
        job.knobs,
        kind=str(job.knobs.head) if "head" in order.spec.hyperparameters else None,
        output="logits" if job.classifies else "value",
        seed=order.spec.seed,
        told=told,
        note=say,
        columns=columns,
    )
    say(Progress(phase="evaluation", ratio=0.9))
    told.check()
    test = "test" if splits["test"] else "validation"
    # From validation data the head may have learned at last; what was said of them before is the measure.
    raw = _run(fitted.head, inputs["test"]) if splits["test"] else fitted.judged
    if scale is not None and splits["validation"]:
        scale = with_interval(scale, unscaled(fitted.judged, scale), targets["validation"])
    outputs = raw if scale is None else unscaled(raw, scale)
    held_out = Predictions(outputs, _whole(targets[test], job), splits[test])
    rival = _riding_rival(job, held_out, inputs[test]) or incumbent_predictions(job, held_out, told)
    learned_from = _whole(targets["train"], job)
    evaluation = evaluate(job.task, job.labels, held_out, learned_from, seed=order.spec.seed, rival=rival)

    say(Progress(phase="publishing", ratio=0.97))
    told.check()
    assert job.files is not None
    card = tuned_card(
        job.base,
        order,
        task=job.task,
        labels=job.labels,
        head=fitted.head.spec,
        target=scale,
        recipe=recipe,
        parameters=job.base.parameters + sum(p.numel() for p in fitted.head.parameters()),
        base_digest=job.files.digest,
        output_size=float(np.abs(raw).max()),
    )
    reference = _reference(job, features, recipe, fitted.head, splits[test], told)
    write_result(
        order,
        folder,
        base=job.base,
        base_files=job.files,
        dataset=job.info,
        card=card,
        state={f"head.{name}": tensor for name, tensor in fitted.head.state_dict().items()},
        golden=_golden(job, card, reference.indices.tolist(), reference.outputs),
        evaluation=evaluation,
        curves=fitted.curves,
        hyperparameters=_hyperparameters(job, fitted),
        splits=splits,
        mistakes=worst_mistakes(job.task, job.labels, held_out, job.examples),
        training_s=time.monotonic() - began,
        held_out=reference,
        accounting=account(job, splits),
    )
    _say_verdict(evaluation, say)
    say(Finished(metrics=evaluation.figures()))


def _splits(job: Job, features: Features, say: Say) -> dict[str, tuple[int, ...]]:
    splits = {name: features.usable(indices) for name, indices in job.splits.items()}
    if not splits["train"]:
        raise CannotTrain("not one training example could be prepared")
    if not splits["test"]:
        if not splits["validation"]:
            raise CannotTrain("there are no data to measure the result on; give the data set more examples")
        say(
            Log(
                level="warning",
                text="there are no test data: the result is measured on validation data, and looks better",
            )
        )
    return splits


def _recipe(job: Job) -> RecordRecipe | None:
    """How pictures and rows are read together, with the columns as the training rows have them; None without rows."""
    if job.task != "image-tabular-regression":
        return None
    assert isinstance(job.base.recipe, ImageRecipe)
    rows = [_row(job, i).cells for i in job.splits["train"]]
    return RecordRecipe(kind="record", image=job.base.recipe, row=row_recipe(job.info.inputs, rows, job.info.columns))


def _row(job: Job, index: int) -> RowInstance:
    record = job.examples[index].instance
    assert isinstance(record, RecordInstance)
    row = record.parts["row"]
    assert isinstance(row, RowInstance)
    return row


def _inputs(
    job: Job, rows: NDArray[np.float32], recipe: RecordRecipe | None, indices: Sequence[int]
) -> NDArray[np.float32]:
    """What the head gets for these examples: the backbone's features of each, `rows`, and behind them its row's columns, `(n,
    D)`."""
    if recipe is None or not len(indices):
        width = 0 if recipe is None else columns_width(recipe.row)
        return np.concatenate([rows, np.zeros((len(rows), width), np.float32)], axis=1)
    columns = np.stack([columns_of(recipe.row, _row(job, i).cells) for i in indices])
    return np.concatenate([rows, columns], axis=1)


def _reference(
    job: Job, features: Features, recipe: RecordRecipe | None, head: Head, held_out: Sequence[int], told: StopSignal
) -> HeldOut:
    """What the version says to held-out examples in fp32, whatever ran the backbone when its features were computed."""
    indices = np.array(held_out, np.int64)
    some = HeldOut(job.info.id, indices, job.targets(held_out), np.zeros((len(indices), 0), np.float32)).thinned()
    chosen = some.indices.tolist()
    rows = in_fp32(job, features, chosen, told)
    return replace(some, outputs=_run(head, _inputs(job, rows, recipe, chosen)))


def _whole(targets: NDArray[np.float64], job: Job) -> NDArray[np.float64] | NDArray[np.int64]:
    return targets.astype(np.int64) if job.classifies else targets


@torch.inference_mode()
def _run(head: Head, x: NDArray[np.float32]) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = head(torch.from_numpy(x)).numpy()
    return outputs


def _riding_rival(job: Job, held_out: Predictions, x: NDArray[np.float32]) -> Predictions | None:
    """A rival that is a head on the same backbone needs no backbone: it gets the features that are there."""
    if job.order.rival is None or job.files is None:
        return None
    try:
        folder = job.order.rival
        card = Card.model_validate_json((folder / "card.json").read_bytes())
        source = card.source
        same = isinstance(source, TunedSource) and source.method == "head" and source.base_digest == job.files.digest
        if (
            not same
            or card.head is None
            or card.head.columns
            or card.task != job.task
            or card.head.inputs != x.shape[1]
        ):
            return None
        if read_labels(card, folder) != job.labels:
            return None
        head = Head(card.head).eval()
        head.load_state_dict({n.removeprefix("head."): t for n, t in load_file(folder / "model.safetensors").items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
        return None  # damaged: the one that runs the whole network finds out as well
    outputs = _run(head, x)
    in_units = outputs if card.target is None else unscaled(outputs, card.target)
    return Predictions(in_units, held_out.targets, held_out.indices)


def _golden(
    job: Job, card: Card, indices: Sequence[int], outputs: NDArray[np.float32]
) -> list[tuple[Tensors, Tensors]]:
    """The network's inputs of a few held-out examples, as the task will prepare them, and the head's answers in fp32."""
    task = task_for(card, draft_files(job, card))
    some = [job.examples[i] for i in indices[:GOLDEN]]
    items = task.preprocess([e.instance for e in some], [e.origin for e in some])
    name = card.signature.outputs[0].name
    found: list[tuple[Tensors, Tensors]] = []
    for item, output in zip(items, outputs, strict=False):
        if isinstance(item, Item):
            answer: dict[str, Array] = {name: output}
            found.append((item.tensors, answer))
    return found


def _hyperparameters(job: Job, fitted: FittedHead) -> dict[str, float | int | str]:
    weights = {"class_weights": job.knobs.class_weights} if job.classifies else {}
    return {**fitted.chosen, **weights}


def _say_verdict(evaluation: Evaluation, say: Say) -> None:
    primary = evaluation.primary
    ours, theirs = format_apart(
        evaluation.metrics[primary].value, evaluation.baseline.metrics.get(primary, float("nan"))
    )
    say(Log(level="info", text=f"{primary} {ours} on {evaluation.examples} held-out examples; baseline {theirs}"))

"""What all networks with labelled examples have in common, from the first batch to the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.cards.card import Card
from model_zoo.cards.tuned_parts import TargetScale
from model_zoo.golden.held_out import HeldOut
from service.training.artifacts.finalize import Result, finish
from service.training.data.accounting import tell_left_out
from service.training.data.prepared import Prepared, predict
from service.training.evaluation.conformal import with_interval
from service.training.evaluation.evaluate import Predictions
from service.training.evaluation.incumbent import incumbent_predictions
from service.training.failures import CannotTrain
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.criteria import (
    class_weights,
    classification_figures,
    cross_entropy,
    regression_figures,
    squared_error,
    target_scale,
    unscaled,
)
from service.training.loop.train import Batches, train
from service.training.protocol import Log, Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say

NO_TEST = "there are no test data: the result is measured on data that had a part in training, and looks better"
OutputsOf = Callable[[str], NDArray[np.float32]]
"""What the network gives for a split, in evaluation mode, (n, outputs)."""
Settle = Callable[[OutputsOf], NDArray[np.float32]]
"""Called once training has ended, it may change the network for good. Gives the outputs for the validation data, of a network
that has not learned from them."""


@dataclass(frozen=True)
class SupervisedData:
    """Examples as the network gets them, and what it should give."""

    prepared: Prepared
    splits: Mapping[str, tuple[int, ...]]
    """Only examples that can be used."""
    targets: Mapping[str, NDArray[np.float64]]
    """By split: class indices, or numbers in the units of the data."""
    scale: TargetScale | None
    """Of numbers."""

    def measured(self, split: str) -> NDArray[Any]:
        """As `evaluate` wants them: class indices are whole numbers."""
        targets = self.targets[split]
        return targets.astype(np.int64) if self.scale is None else targets

    def wanted(self, split: str) -> Tensor:
        """What training compares with: class indices int64, or numbers in spreads float32, (n,)."""
        targets = self.targets[split]
        if self.scale is None:
            return torch.from_numpy(targets.astype(np.int64))
        return torch.from_numpy(((targets - self.scale.mean) / self.scale.std).astype(np.float32))


def prepare(job: Job, prepared: Prepared, say: Say, told: StopSignal) -> SupervisedData:
    """Looks at every example once. Raises CannotTrain where none can be trained on, or a number is the same everywhere."""
    splits = {name: prepared.usable(job.splits[name], told) for name in ("train", "validation", "test")}
    if not splits["train"]:
        why = next((f"; the first: {reason}" for reason in prepared.left_out.values()), "")
        raise CannotTrain(f"not one training example could be prepared{why}")
    # Of very few examples none may be left for one of them.
    splits["validation"] = splits["validation"] or splits["train"]
    if not splits["test"]:
        say(Log(level="warning", text=NO_TEST))
        splits["test"] = splits["validation"]
    targets = {name: job.targets(indices) for name, indices in splits.items()}
    return SupervisedData(prepared, splits, targets, None if job.classifies else target_scale(targets["train"]))


def fit_supervised(
    job: Job,
    lesson: SupervisedData,
    network: nn.Module,
    batches: Batches,
    checkpoints: Checkpoints,
    say: Say,
    told: StopSignal,
    *,
    card: Card,
    settle: Settle | None = None,
) -> None:
    """Trains, measures on what was held out, and writes the result."""
    job.left_out.update(lesson.prepared.left_out)
    tell_left_out(job, say)
    output = card.signature.outputs[0].name
    device, knobs = job.order.device, job.knobs

    def outputs_of(split: str) -> NDArray[np.float32]:
        return predict(network, output, lesson.prepared, lesson.splits[split], knobs.batch_size, told, device=device)

    def validate() -> dict[str, float]:
        outputs, targets = outputs_of("validation"), lesson.targets["validation"]
        if lesson.scale is None:
            return classification_figures(outputs, targets, weights)
        return regression_figures(outputs, targets, lesson.scale)

    weights = class_weights(knobs, lesson.wanted("train"), len(job.labels)) if job.classifies else None
    criterion = squared_error if lesson.scale else cross_entropy(knobs, weights)
    network.to(device)
    state = train(network, batches, criterion, validate, knobs, checkpoints, say, told, output=output, device=device)

    say(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    told.check()
    judged = outputs_of("validation") if settle is None else settle(outputs_of)
    raw = outputs_of("test")
    held_out: NDArray[np.floating] = raw
    scale = lesson.scale
    if scale is not None:
        scale = with_interval(scale, unscaled(judged, scale), lesson.targets["validation"])
        held_out = unscaled(held_out, scale)
    predictions = Predictions(held_out, lesson.measured("test"), lesson.splits["test"])
    result = Result(
        card=card.model_copy(update={"target": scale}),
        network=network.cpu(),
        held_out=predictions,
        rival=incumbent_predictions(job, predictions, told),
        train_targets=lesson.measured("train"),
        golden=golden(lesson.prepared, lesson.splits["test"]),
        state=state,
        splits=lesson.splits,
        decided=HeldOut(job.info.id, np.array(lesson.splits["test"], np.int64), lesson.targets["test"], raw),
    )
    finish(job, result, say, told)


def golden(prepared: Prepared, indices: Sequence[int]) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs of a few held-out examples, single rows without the rows axis."""
    return [dict(item.tensors) for item in prepared.items(indices[:3])]

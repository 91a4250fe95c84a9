"""What all networks with labelled examples have in common, from the first batch to the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.card import Card, TargetScale
from service.training.checkpoint import Checkpoints
from service.training.criteria import (
    classification_figures,
    cross_entropy,
    regression_figures,
    squared_error,
    target_scale,
    unscaled,
    with_interval,
)
from service.training.data import Prepared, predict
from service.training.evaluate import Predictions
from service.training.finish import Result, finish
from service.training.job import Job, Say
from service.training.loop import Batches, train
from service.training.rival import rival_predictions
from service.training.spec import Progress
from service.training.told import Told


@dataclass(frozen=True)
class Lesson:
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

    @property
    def wanted(self) -> Tensor:
        """What training compares with: class indices int64, or numbers in spreads float32, (n,)."""
        targets = self.targets["train"]
        if self.scale is None:
            return torch.from_numpy(targets.astype(np.int64))
        return torch.from_numpy(((targets - self.scale.mean) / self.scale.std).astype(np.float32))


def prepare(job: Job, prepared: Prepared, say: Say, told: Told) -> Lesson:
    """Looks at every example once. Raises CannotTrain where a number is the same everywhere."""
    splits = {name: prepared.usable(job.splits[name], say, told) for name in ("train", "validation", "test")}
    # Of very few examples none may be left for one of them.
    splits["validation"] = splits["validation"] or splits["train"]
    splits["test"] = splits["test"] or splits["validation"]
    targets = {name: job.targets(indices) for name, indices in splits.items()}
    return Lesson(prepared, splits, targets, None if job.classifies else target_scale(targets["train"]))


def teach(
    job: Job,
    lesson: Lesson,
    network: nn.Module,
    batches: Batches,
    checkpoints: Checkpoints,
    say: Say,
    told: Told,
    *,
    card: Card,
) -> None:
    """Trains, measures on what was held out, and writes the result."""
    output = card.signature.outputs[0].name
    device, knobs = job.order.device, job.knobs

    def outputs_of(split: str) -> NDArray[np.float32]:
        return predict(network, output, lesson.prepared, lesson.splits[split], knobs.batch_size, told, device=device)

    def validate() -> dict[str, float]:
        outputs, targets = outputs_of("validation"), lesson.targets["validation"]
        if lesson.scale is None:
            return classification_figures(outputs, targets)
        return regression_figures(outputs, targets, lesson.scale)

    criterion = squared_error if lesson.scale else cross_entropy(knobs, lesson.wanted, len(job.labels))
    network.to(device)
    state = train(network, batches, criterion, validate, knobs, checkpoints, say, told, output=output, device=device)

    say(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    told.check()
    held_out: NDArray[np.floating] = outputs_of("test")
    scale = lesson.scale
    if scale is not None:
        scale = with_interval(scale, unscaled(outputs_of("validation"), scale), lesson.targets["validation"])
        held_out = unscaled(held_out, scale)
    predictions = Predictions(held_out, lesson.measured("test"), lesson.splits["test"])
    result = Result(
        card=card.model_copy(update={"target": scale}),
        network=network.cpu(),
        held_out=predictions,
        rival=rival_predictions(job, predictions, told),
        train_targets=lesson.measured("train"),
        golden=golden(lesson.prepared, lesson.splits["test"]),
        state=state,
        splits=lesson.splits,
    )
    finish(job, result, say, told)


def golden(prepared: Prepared, indices: Sequence[int]) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs of a few held-out examples, single rows without the rows axis."""
    return [dict(item.tensors) for item in prepared.items(indices[:3])]

"""A small perceptron on fixed features: standardise → linear → ReLU → linear, by mini-batches, with early stopping."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.tuned import Head
from service.training.heads.linear import Scale
from service.training.hyperparameters import Hyperparameters
from service.training.protocol import Metric
from service.training.stop_signal import StopSignal

if TYPE_CHECKING:
    from service.training.heads.fit import Xy

BATCH = 128
DECAY = 1e-2
"""Weight decay of AdamW where none was chosen."""


@dataclass(frozen=True, slots=True)
class FittedMlp:
    """The best epoch's."""

    head: Head
    losses: Tensor
    """Of the validation examples."""
    epochs: int
    """Until the best one."""
    decay: float


def fit_mlp(
    train: Xy,
    validation: Xy,
    head: Head,
    knobs: Hyperparameters,
    classes: int | None,
    seed: int,
    told: StopSignal,
    measured: Callable[[Metric], None],
    first_step: int,
) -> FittedMlp:
    """Trains `head` in place, which comes new. Without validation data it takes the last epoch."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    scale = Scale.of(train.x.double())
    with torch.no_grad():
        head.mean.copy_(scale.mean)
        head.scale.copy_(scale.scale)
        for layer in (head.hidden, head.out):
            assert layer is not None
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
    decay = DECAY if knobs.weight_decay is None else knobs.weight_decay
    optimizer = torch.optim.AdamW(head.parameters(), lr=knobs.learning_rate, weight_decay=decay)
    weights = _weights(train.y, classes, knobs)
    best, best_loss, best_epoch = copy.deepcopy(head), float("inf"), 0

    for epoch in range(1, knobs.epochs + 1):
        told.check()
        head.train()
        for rows in torch.randperm(len(train.y), generator=generator).split(BATCH):  # type: ignore[no-untyped-call]
            outputs = head(train.x[rows])
            loss = (_losses(outputs, train.y[rows], classes) * weights[rows]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        head.eval()
        with torch.no_grad():
            judged = _losses(head(validation.x), validation.y, classes)
        value = float(judged.mean()) if len(judged) else 0.0
        if len(judged):
            measured(Metric(name="mlp_loss", split="validation", value=value, step=first_step + epoch, epoch=epoch))
        if value < best_loss or not len(judged):
            best, best_loss, best_epoch = copy.deepcopy(head), value, epoch
        elif knobs.patience and epoch - best_epoch >= knobs.patience:
            break

    best.eval().requires_grad_(False)
    return FittedMlp(best, _losses(best(validation.x), validation.y, classes), best_epoch, decay)


def _losses(outputs: Tensor, targets: Tensor, classes: int | None) -> Tensor:
    """Of each example: cross entropy in nats, or squared error in squared spreads."""
    if classes is None:
        return (outputs[:, 0] - targets).square()
    return functional.cross_entropy(outputs, targets, reduction="none")


def _weights(y: Tensor, classes: int | None, knobs: Hyperparameters) -> Tensor:
    if classes is None or knobs.class_weights == "none":
        return torch.ones(len(y))
    counts = torch.bincount(y, minlength=classes).float()
    return (len(y) / (classes * counts.clamp(min=1.0)))[y]

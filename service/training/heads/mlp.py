"""A small MLP on fixed features: standardise → linear → ReLU → linear, trained by mini-batches with early stopping."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model_zoo.architectures.tuned import (
    Head,
)
from service.training.heads.labelled_features import (
    LabelledFeatures,
)
from service.training.heads.linear import (
    StandardScaler,
)
from service.training.heads.losses import (
    balanced_class_weights,
    example_losses,
)
from service.training.hyperparameters import Hyperparameters
from service.training.protocol import Metric
from service.training.stop_signal import StopSignal

BATCH_SIZE = 128
DEFAULT_DECAY = 1e-2
"""Weight decay of AdamW if the user chose none."""


@dataclass(frozen=True, slots=True)
class FittedMlp:
    """The MLP of the best epoch."""

    head: Head
    losses: Tensor
    """Of the validation examples, `(n,)`."""
    epochs: int
    """Up to and including the best one."""
    decay: float


def fit_mlp(
    train: LabelledFeatures,
    validation: LabelledFeatures,
    head: Head,
    hparams: Hyperparameters,
    classes: int | None,
    seed: int,
    stop: StopSignal,
    record: Callable[[Metric], None],
    first_step: int,
) -> FittedMlp:
    """Trains `head`, a new one, in place. Without validation data it takes the last epoch.

    Args:
        first_step: the step before the first epoch's, in the metrics.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    _initialise(head, StandardScaler.of(train.x.double()), generator)
    decay = DEFAULT_DECAY if hparams.weight_decay is None else hparams.weight_decay
    optimizer = torch.optim.AdamW(head.parameters(), lr=hparams.learning_rate, weight_decay=decay)
    weights = None if classes is None else balanced_class_weights(hparams, train.y, classes)
    best, best_loss, best_epoch = copy.deepcopy(head), float("inf"), 0

    for epoch in range(1, hparams.epochs + 1):
        stop.check()
        head.train()
        for rows in torch.randperm(len(train.y), generator=generator).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            loss = example_losses(head(train.x[rows]), train.y[rows], weights).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        head.eval()
        with torch.no_grad():
            losses = example_losses(head(validation.x), validation.y)
        value = float(losses.mean()) if len(losses) else 0.0
        if len(losses):
            record(Metric(name="mlp_loss", split="validation", value=value, step=first_step + epoch, epoch=epoch))
        if value < best_loss or not len(losses):
            best, best_loss, best_epoch = copy.deepcopy(head), value, epoch
        elif hparams.patience and epoch - best_epoch >= hparams.patience:
            break

    best.eval().requires_grad_(False)
    return FittedMlp(best, example_losses(best(validation.x), validation.y), best_epoch, decay)


@torch.no_grad()
def _initialise(head: Head, scaler: StandardScaler, generator: torch.Generator) -> None:
    head.mean.copy_(scaler.mean)
    head.scale.copy_(scaler.scale)
    for layer in (head.hidden, head.out):
        assert layer is not None
        bound = layer.in_features**-0.5
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()

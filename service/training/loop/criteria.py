"""Loss functions of the training loop, and the validation metrics after each epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.cards.tuned_parts import TargetScale
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) of a batch → the mean loss."""


def cross_entropy(hparams: Hyperparameters, class_weights: Tensor | None) -> Criterion:
    """The criterion for logits (B, classes) and class indices (B,)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        weights = None if class_weights is None else class_weights.to(logits.device)
        return functional.cross_entropy(logits, targets, weights, label_smoothing=hparams.label_smoothing)

    return loss


def binary_cross_entropy(hparams: Hyperparameters, class_weights: Tensor | None) -> Criterion:
    """The criterion for logits (B, classes) and several classes of each example, 1 or 0, (B, classes): their mean.
    `class_weights`: of the examples that have a class, see `balanced_class_weights`."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        weights = None if class_weights is None else class_weights.to(logits.device)
        smoothed = targets * (1.0 - hparams.label_smoothing) + hparams.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=weights)

    return loss


def squared_error(output: Tensor, targets: Tensor) -> Tensor:
    """The criterion for (B, 1) and (B,), both in spreads of the target."""
    return functional.mse_loss(output.squeeze(1), targets)


def classification_metrics(
    logits: NDArray[np.float32], targets: NDArray[np.float64], class_weights: Tensor | None = None
) -> dict[str, float]:
    """Mean cross entropy in nats, with the class weights of training, and accuracy."""
    indices = torch.from_numpy(targets.astype(np.int64))
    weights = None if class_weights is None else class_weights.double()
    loss = functional.cross_entropy(torch.from_numpy(logits).double(), indices, weights)
    return {"loss": loss.item(), "accuracy": float((logits.argmax(axis=1) == targets).mean())}


def multi_label_metrics(
    logits: NDArray[np.float32], targets: NDArray[np.float64], class_weights: Tensor | None = None
) -> dict[str, float]:
    """Mean binary cross entropy of several classes in nats, with the class weights of training, and F1 over all decisions."""
    weights = None if class_weights is None else class_weights.double()
    flags = torch.from_numpy(targets.astype(np.float64))
    loss = functional.binary_cross_entropy_with_logits(torch.from_numpy(logits).double(), flags, pos_weight=weights)
    named = logits > 0
    either = named.sum() + (targets > 0).sum()
    return {"loss": loss.item(), "micro_f1": float(2 * (named & (targets > 0)).sum() / max(either, 1))}


def regression_metrics(
    output: NDArray[np.float32], targets: NDArray[np.float64], scale: TargetScale
) -> dict[str, float]:
    """Mean squared error in squared spreads, and mean absolute error in the units of the data."""
    errors = output[:, 0].astype(np.float64) - (targets - scale.mean) / scale.std
    return {"loss": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean() * scale.std)}


def target_scale(targets: NDArray[np.float64]) -> TargetScale:
    """Mean and spread of the training targets. Raises CannotTrain if all targets are the same."""
    spread = float(targets.std())
    if not spread > 1e-12 * float(np.abs(targets).max()):
        raise CannotTrain(f"the target is {targets[0]:g} in every training example; there is nothing to learn")
    return TargetScale(mean=float(targets.mean()), std=spread)


def in_spreads(targets: NDArray[np.float64], scale: TargetScale) -> NDArray[np.float32]:
    """Numbers (n,) in the units of the data → in spreads of the target, as a network learns them."""
    return ((targets - scale.mean) / scale.std).astype(np.float32)


def in_units(output: NDArray[np.floating], scale: TargetScale) -> NDArray[np.float64]:
    """Outputs (n, 1) in spreads of the target → (n,) in the units of the data."""
    return output[:, 0].astype(np.float64) * scale.std + scale.mean

"""What is minimised, and what is measured after each epoch."""

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


def class_weights(knobs: Hyperparameters, targets: Tensor, classes: int) -> Tensor | None:
    """(classes,), from all of the training data's class indices. None where all examples count alike."""
    if knobs.class_weights == "none":
        return None
    counts = torch.bincount(targets, minlength=classes).float()
    return len(targets) / (classes * counts.clamp(min=1.0))


def cross_entropy(knobs: Hyperparameters, weights: Tensor | None) -> Criterion:
    """Of logits (B, classes) and class indices (B,)."""

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        on_device = None if weights is None else weights.to(logits.device)
        return functional.cross_entropy(logits, wanted, on_device, label_smoothing=knobs.label_smoothing)

    return loss


def squared_error(output: Tensor, wanted: Tensor) -> Tensor:
    """Of (B, 1) and (B,), both in spreads of the target."""
    return functional.mse_loss(output.squeeze(1), wanted)


def losses_of(output: NDArray[np.float32], wanted: Tensor, weights: Tensor | None) -> Tensor:
    """Of each example, float64 (n,): cross entropy in nats of (n, classes), or the squared error in squared spreads of (n, 1)."""
    given = torch.from_numpy(output).double()
    if wanted.is_floating_point():
        return (given[:, 0] - wanted).square()
    losses = functional.cross_entropy(given, wanted, reduction="none")
    return losses if weights is None else losses * weights[wanted]


def classification_figures(
    logits: NDArray[np.float32], targets: NDArray[np.float64], weights: Tensor | None = None
) -> dict[str, float]:
    """Mean cross entropy in nats, where classes weigh as they do in training; and the share that is right."""
    wanted = torch.from_numpy(targets.astype(np.int64))
    double = None if weights is None else weights.double()
    loss = functional.cross_entropy(torch.from_numpy(logits).double(), wanted, double)
    return {"loss": loss.item(), "accuracy": float((logits.argmax(axis=1) == targets).mean())}


def regression_figures(
    output: NDArray[np.float32], targets: NDArray[np.float64], scale: TargetScale
) -> dict[str, float]:
    """Mean squared error in squared spreads, and mean absolute error in the units of the data."""
    errors = output[:, 0].astype(np.float64) - (targets - scale.mean) / scale.std
    return {"loss": float(np.square(errors).mean()), "mae": float(np.abs(errors).mean() * scale.std)}


def target_scale(targets: NDArray[np.float64]) -> TargetScale:
    """Mean and spread of the training targets. Raises CannotTrain where there is nothing to learn."""
    spread = float(targets.std())
    if not spread > 1e-12 * float(np.abs(targets).max()):
        raise CannotTrain(f"the target is {targets[0]:g} in every training example; there is nothing to learn")
    return TargetScale(mean=float(targets.mean()), std=spread)


def unscaled(output: NDArray[np.float32], scale: TargetScale) -> NDArray[np.float64]:
    """(n, 1) in spreads → (n,) in the units of the data."""
    return output[:, 0].astype(np.float64) * scale.std + scale.mean

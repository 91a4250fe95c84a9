"""Losses of single examples, the weights of classes in them, and comparisons of two models by them.

Integer targets are class indices: their loss is the cross entropy of the logits, in nats. Floating-point targets are numbers in
spreads of the target: their loss is the squared error of the first output.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from service.training.hyperparameters import Hyperparameters

STANDARD_ERRORS = 2.0
"""The mean gain must be larger than this number of its standard errors to count as more than noise."""
LOG_TEMPERATURES = torch.linspace(-2.0, 2.0, 81, dtype=torch.float64)
PRIOR_SPREAD = 0.5
"""Of the log of the temperature: with few examples it stays near 1."""


def example_losses(outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The loss of each example, `(n,)`.

    Args:
        outputs: logits `(n, classes)`, or numbers `(n, 1)`.
        targets: class indices or numbers `(n,)`.
        class_weights: `(classes,)`, see `balanced_class_weights`; each example's loss is multiplied by its class's weight.
    """
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).square()
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    return losses if class_weights is None else losses * class_weights[targets]


def balanced_class_weights(
    hparams: Hyperparameters, targets: Tensor, classes: int, dtype: torch.dtype = torch.float32
) -> Tensor | None:
    """Weights `(classes,)` with which rare classes count as much as frequent ones; None unless the job asks for `balanced`.

    Args:
        targets: class indices of all training examples, `(n,)`.
    """
    if hparams.class_weights == "none":
        return None
    counts = torch.bincount(targets, minlength=classes).to(dtype)
    return len(targets) / (classes * counts.clamp(min=1.0))


def example_weights(hparams: Hyperparameters, targets: Tensor, classes: int | None) -> Tensor | None:
    """The class weight of each example, float64 `(n,)`; None if all examples count alike, as numbers do (`classes` is None)."""
    if classes is None:
        return None
    weights = balanced_class_weights(hparams, targets, classes, torch.float64)
    return None if weights is None else weights[targets]


def clearly_better(losses: Tensor, other_losses: Tensor) -> bool:
    """Whether the first losses are lower than the other losses of the same examples by more than noise."""
    gain = (other_losses.double() - losses.double()).numpy()
    return bool(gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))


def best_sharpness(logits: Tensor, targets: Tensor) -> float:
    """The factor on the logits that makes their probabilities fit the targets best; near 1 if there are few examples.

    It is the inverse of a temperature (Guo et al. 2017, arXiv:1706.04599).
    """
    factors = LOG_TEMPERATURES.exp()
    losses = torch.stack([functional.cross_entropy(logits * factor, targets) for factor in factors])
    return float(factors[(losses + (LOG_TEMPERATURES / PRIOR_SPREAD).square() / (2 * len(targets))).argmin()])

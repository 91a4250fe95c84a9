"""Losses of single examples, the weights of classes in them, and comparisons of two models by them.

class indices `(n,)`, whole numbers     the cross entropy of the logits, in nats
several classes `(n, classes)`, 1 or 0   the mean binary cross entropy of the classes, in nats
numbers `(n,)` in spreads of the target  the squared error of the first output
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from service.training.hyperparameters import Hyperparameters

MAX_POSITIVE_WEIGHT = 100.0
"""Of the examples that have a class: larger weights make a few examples of a rare class noise for all others."""
STANDARD_ERRORS = 2.0
"""The mean gain must be larger than this number of its standard errors to count as more than noise."""
LOG_TEMPERATURES = torch.linspace(-2.0, 2.0, 81, dtype=torch.float64)
PRIOR_SPREAD = 0.5
"""Of the log of the temperature: with few examples it stays near 1."""


def example_losses(outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The loss of each example, `(n,)`.

    Args:
        outputs: logits `(n, classes)`, or numbers `(n, 1)`.
        targets: class indices or numbers `(n,)`, or several classes `(n, classes)`.
        class_weights: `(classes,)`, see `balanced_class_weights`; each example's loss is multiplied by its class's weight, or,
            of several classes, the loss of each that the example has.
    """
    if targets.dim() == 2:
        flags = targets.to(outputs.dtype)
        decisions = functional.binary_cross_entropy_with_logits(
            outputs, flags, pos_weight=class_weights, reduction="none"
        )
        return decisions.mean(dim=1)
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).square()
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    return losses if class_weights is None else losses * class_weights[targets]


def balanced_class_weights(
    hparams: Hyperparameters, targets: Tensor, classes: int, dtype: torch.dtype = torch.float32
) -> Tensor | None:
    """Weights `(classes,)` with which rare classes count as much as frequent ones; None unless the job asks for `balanced`.

    Args:
        targets: class indices of all training examples, `(n,)`. Of several classes, `(n, classes)`: the weight is then that of
            the examples that have the class, with which they count as much as those that do not, at most `MAX_POSITIVE_WEIGHT`.
    """
    if hparams.class_weights == "none":
        return None
    if targets.dim() == 2:
        having = targets.to(dtype).sum(dim=0)
        return ((len(targets) - having) / having.clamp(min=1.0)).clamp(
            min=1.0 / MAX_POSITIVE_WEIGHT, max=MAX_POSITIVE_WEIGHT
        )
    counts = torch.bincount(targets, minlength=classes).to(dtype)
    return len(targets) / (classes * counts.clamp(min=1.0))


def example_weights(hparams: Hyperparameters, targets: Tensor, classes: int | None) -> Tensor | None:
    """The class weight of each example, float64 `(n,)`, or, of several classes, of each decision, `(n, classes)`; None if all
    count alike, as numbers do (`classes` is None)."""
    if classes is None:
        return None
    weights = balanced_class_weights(hparams, targets, classes, torch.float64)
    if weights is None:
        return None
    return torch.where(targets > 0, weights, 1.0) if targets.dim() == 2 else weights[targets]


def clearly_better(losses: Tensor, other_losses: Tensor) -> bool:
    """Whether the first losses are lower than the other losses of the same examples by more than noise."""
    gain = (other_losses.double() - losses.double()).numpy()
    return bool(gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))


def best_sharpness(logits: Tensor, targets: Tensor) -> float:
    """The factor on the logits that makes their probabilities fit the targets best; near 1 if there are few examples.

    It is the inverse of a temperature (Guo et al. 2017, arXiv:1706.04599).
    """
    factors = LOG_TEMPERATURES.exp()
    losses = torch.stack([example_losses(logits * factor, targets).mean() for factor in factors])
    return float(factors[(losses + (LOG_TEMPERATURES / PRIOR_SPREAD).square() / (2 * len(targets))).argmin()])

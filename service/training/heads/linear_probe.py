"""Initialises a head with the best linear solution on the frozen features, instead of random weights.

A random head sends large gradients into the pretrained backbone and distorts it before the head is of any use (Kumar et al.,
Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022, arXiv:2202.10054).
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_zoo.architectures.tuned import (
    Head,
    TunedNetwork,
)
from service.training.data.prepared import (
    PreparedExamples,
)
from service.training.heads.linear import (
    StandardScaler,
    solver_for,
)
from service.training.heads.losses import (
    example_weights,
)
from service.training.hyperparameters import Hyperparameters
from service.training.stop_signal import StopSignal

STRENGTH = 0.1
"""L2 penalty: strong, since the backbone still learns afterwards."""
MAX_EXAMPLES = 4096


@torch.no_grad()
def extract_features(
    network: TunedNetwork, prepared: PreparedExamples, indices: tuple[int, ...], batch_size: int, stop: StopSignal
) -> Tensor:
    """Features of examples, `columns` included, (n, D)."""
    parts = []
    for at in range(0, len(indices), batch_size):
        stop.check()
        parts.append(network.features(**prepared.collate(indices[at : at + batch_size])).float())
    return torch.cat(parts)


def start_from_probe(
    network: TunedNetwork,
    prepared: PreparedExamples,
    indices: tuple[int, ...],
    targets: Tensor,
    hparams: Hyperparameters,
    stop: StopSignal,
) -> None:
    """Standardises by the training features, and sets a linear head to its solution. An MLP head keeps its random weights.

    Args:
        targets: of `indices`: class indices (n,) int64, or numbers in spreads (n,) float32; of several classes
            (n, classes) float32.
    """
    step = max(1, -(-len(indices) // MAX_EXAMPLES))  # an even sample of very many examples
    features = extract_features(network, prepared, indices[::step], hparams.batch_size, stop)
    set_to_probe(network.head, features, targets[::step], hparams)


def set_to_probe(
    head: Head, features: Tensor, targets: Tensor, hparams: Hyperparameters, strength: float = STRENGTH
) -> None:
    """Standardises by the features (n, D), and sets a linear head to its solution. An MLP head keeps its random weights.

    Args:
        targets: see `start_from_probe`.
        strength: the L2 penalty.
    """
    scaler = StandardScaler.with_columns(features, head.spec.columns)
    with torch.no_grad():
        head.mean.copy_(scaler.mean)
        head.scale.copy_(scaler.scale)
        if head.hidden is not None:
            return
    classes = None if targets.is_floating_point() and targets.dim() == 1 else head.spec.outputs
    solver = solver_for(scaler(features), targets, classes, example_weights(hparams, targets, classes))
    solution = solver.fit(strength)
    with torch.no_grad():
        head.out.weight.copy_(solution.weight)
        head.out.bias.copy_(solution.bias)

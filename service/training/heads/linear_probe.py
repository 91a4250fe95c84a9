"""Where a head begins: at the best linear answer on the frozen features, not at random.

A random head sends large gradients into a backbone that knew better, and distorts it before the head makes sense (Kumar et al.,
Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022, arXiv:2202.10054).
"""

from __future__ import annotations

import torch
from torch import Tensor

from model_zoo.architectures.tuned import TunedNetwork
from service.training.data.prepared import Prepared
from service.training.heads.fit import example_weights, scale_of
from service.training.heads.linear import Axes, Logistic, Ridge
from service.training.hyperparameters import Hyperparameters
from service.training.stop_signal import StopSignal

STRENGTH = 0.1
"""L2 penalty: strong, since the backbone is to learn as well."""
MOST_EXAMPLES = 4096


@torch.no_grad()
def features_of(
    network: TunedNetwork, prepared: Prepared, indices: tuple[int, ...], batch_size: int, told: StopSignal
) -> Tensor:
    """(n, D) of examples, `columns` included."""
    parts = []
    for at in range(0, len(indices), batch_size):
        told.check()
        parts.append(network.features(**prepared.collate(indices[at : at + batch_size])).float())
    return torch.cat(parts)


def start_from_probe(
    network: TunedNetwork,
    prepared: Prepared,
    indices: tuple[int, ...],
    targets: Tensor,
    knobs: Hyperparameters,
    told: StopSignal,
) -> None:
    """Standardises by the training features, and sets a linear head to its solution; an mlp keeps its random weights.

    Args:
        targets: of `indices`: class indices (n,) int64, or numbers in spreads (n,) float32.
    """
    step = max(1, -(-len(indices) // MOST_EXAMPLES))  # of very many examples some are enough
    features = features_of(network, prepared, indices[::step], knobs.batch_size, told)
    head = network.head
    scale = scale_of(features, head.spec.columns)
    with torch.no_grad():
        head.mean.copy_(scale.mean)
        head.scale.copy_(scale.scale)
        if head.hidden is not None:
            return
    axes = Axes(scale(features))
    wanted = targets[::step]
    if wanted.is_floating_point():
        solution = Ridge(axes, wanted[:, None]).fit(STRENGTH)
    else:
        classes = head.spec.outputs
        solution = Logistic(axes, wanted, classes, example_weights(wanted, classes, knobs)).fit(STRENGTH)
    with torch.no_grad():
        head.out.weight.copy_(solution.weight)
        head.out.bias.copy_(solution.bias)

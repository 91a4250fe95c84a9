"""The zoo's architectures with seeded weights: the same numbers on every machine, without the files of the weights.

Seeded weights run as fast as trained ones, and are compared with themselves in eager fp32. They classify nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.network import build_network
from service.types import DTYPES, Array, Tensors

IMAGES, TEXTS = "efficientnet_lite0", "all_minilm_l6_v2"
SEED = 5
LENGTHS = (3, 24, 61)
"""Tokens of the rows of texts."""
TOKENS = 30_000


def card_of(model: str) -> Card:
    """The card of a model without its files: seeded logits have no class names."""
    return Catalog.from_package().get(model).model_copy(update={"labels": None})


def seeded_network(card: Card, spread: float = 1.0) -> Network:
    """The card's architecture with seeded weights: in evaluation mode, float32, on the CPU.

    Batch norms get seeded statistics as well, so that folding them is not the identity.
    """
    torch.manual_seed(SEED)
    network = build_network(card)
    generator = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.copy_(0.1 * spread * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(1.0 + 0.2 * spread * torch.rand(module.running_var.shape, generator=generator))
    return network.eval().requires_grad_(False)


def batch_of(card: Card, rows: int, seed: int = SEED, length: int = LENGTHS[1]) -> Tensors:
    """A batch of seeded inputs in the card's signature; integers are token numbers, with a mask of ones."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, Array] = {}
    for spec in card.signature.inputs:
        shape = [rows, *(length if size < 0 else size for size in spec.shape[1:])]
        if "mask" in spec.name:
            tensors[spec.name] = np.ones(shape, DTYPES[spec.datatype])
        elif spec.datatype == "INT64":
            tensors[spec.name] = generator.integers(1, TOKENS, shape)
        else:
            tensors[spec.name] = generator.standard_normal(shape, np.float32)
    return tensors


def row(tensors: Tensors, number: int) -> Tensors:
    """One row of a batch, with its leading axis."""
    return {name: array[number : number + 1] for name, array in tensors.items()}


def rows_of(outputs: Tensors) -> Sequence[Tensors]:
    """The rows of a batch of outputs, without their leading axis."""
    return [
        {name: array[number] for name, array in outputs.items()} for number in range(len(next(iter(outputs.values()))))
    ]

"""Batches in which half of the pictures are flipped from left to right, together with what is learned of their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from service.training.data.seeds import mix_seeds
from service.training.loop.train import Batches, TrainingBatch

FlipTargets = Callable[[Tensor], Tensor]
"""Targets (B, …) → those of the flipped pictures."""


class FlippedBatches:
    """Implements `train.Batches`. Seed, epoch and the number of a batch decide which pictures are flipped: a resumed job flips
    the same ones."""

    def __init__(self, batches: Batches, seed: int, name: str, flip_targets: FlipTargets) -> None:
        """`name`: of the network's input, (B, 3, H, W)."""
        self._batches, self._seed, self._name, self._flip_targets = batches, seed, name, flip_targets
        self.per_epoch = batches.per_epoch

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        for number, batch in enumerate(self._batches.epoch(epoch, start), start):
            drawn = torch.Generator().manual_seed(mix_seeds(self._seed, epoch, number))
            rows = (torch.rand(len(batch.targets), generator=drawn) < 0.5).to(batch.targets.device)
            pixels, targets = batch.inputs[self._name].clone(), batch.targets.clone()
            pixels[rows], targets[rows] = pixels[rows].flip(-1), self._flip_targets(targets[rows])
            yield TrainingBatch({**batch.inputs, self._name: pixels}, targets)


def flipped_boxes(targets: Tensor) -> Tensor:
    """Boxes (B, most boxes, 5) of label, xmin, ymin, xmax and ymax as shares of the picture."""
    found = targets.clone()
    found[..., 1], found[..., 3] = 1.0 - targets[..., 3], 1.0 - targets[..., 1]
    return found


def flipped_masks(targets: Tensor) -> Tensor:
    """Masks (B, height, width)."""
    return targets.flip(-1)

"""Boxes of pictures as targets of a detector: one tensor for all examples, and batches in which pictures are flipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.datasets.dataset import Examples, LabelledBox
from service.training.data.seeds import mix_seeds
from service.training.loop.train import Batches, TrainingBatch

NO_BOX = -1
"""Label of the rows that fill up a picture's boxes."""


def boxes_of(examples: Examples, index: int) -> NDArray[np.float64]:
    """The boxes of an example, (n, 5): label, xmin, ymin, xmax, ymax, of which the last four are shares of the picture."""
    target = examples[index].target
    assert isinstance(target, tuple)
    rows = [(b.label, b.xmin, b.ymin, b.xmax, b.ymax) for b in target if isinstance(b, LabelledBox)]
    return np.array(rows, np.float64).reshape(-1, 5)


def box_targets(boxes: Sequence[NDArray[np.float64]]) -> Tensor:
    """The boxes of pictures as one tensor (pictures, most boxes, 5), filled up with rows of `NO_BOX`."""
    most = max((len(rows) for rows in boxes), default=0)
    targets = torch.zeros(len(boxes), max(most, 1), 5)
    targets[..., 0] = NO_BOX
    for i, rows in enumerate(boxes):
        targets[i, : len(rows)] = torch.from_numpy(rows)
    return targets


class FlippedBatches:
    """Batches in which half of the pictures are flipped from left to right, with their boxes. Implements `train.Batches`.

    Seed, epoch and the number of a batch decide which: a resumed job flips the same ones.
    """

    def __init__(self, batches: Batches, seed: int, name: str) -> None:
        """`name`: of the network's input, (B, 3, H, W)."""
        self._batches, self._seed, self._name = batches, seed, name
        self.per_epoch = batches.per_epoch

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        for number, batch in enumerate(self._batches.epoch(epoch, start), start):
            drawn = torch.Generator().manual_seed(mix_seeds(self._seed, epoch, number))
            rows = torch.rand(len(batch.targets), generator=drawn) < 0.5
            rows = rows.to(batch.targets.device)
            yield flipped(batch, rows, self._name) if rows.any() else batch


def flipped(batch: TrainingBatch, rows: Tensor, name: str) -> TrainingBatch:
    """A batch of which some rows, (B,), are flipped from left to right."""
    pixels, targets = batch.inputs[name].clone(), batch.targets.clone()
    pixels[rows] = pixels[rows].flip(-1)
    targets[rows, :, 1] = 1.0 - batch.targets[rows, :, 3]
    targets[rows, :, 3] = 1.0 - batch.targets[rows, :, 1]
    return TrainingBatch({**batch.inputs, name: pixels}, targets)

"""Boxes of pictures as targets of a detector: one tensor for all examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.datasets.dataset import Examples, LabelledBox

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

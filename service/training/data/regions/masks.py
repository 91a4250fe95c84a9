"""Masks of pictures as targets of a network that tells the class of each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from service.datasets.dataset import ClassMask, Examples
from service.datasets.readers.masks.masked_pictures import mask_pixels

NO_CLASS = -1
"""Places that are not learned from."""


def mask_of(examples: Examples, index: int) -> NDArray[np.int16]:
    """The class of each pixel of the upright picture, (height, width); `NO_CLASS` where there is none."""
    target = examples[index].target
    assert isinstance(target, ClassMask)
    return renumbered(mask_pixels(target.data), target.labels)


def renumbered(pixels: NDArray[np.int64], labels: Mapping[int, int]) -> NDArray[np.int16]:
    """Numbers of a file → classes by `labels`, and `NO_CLASS` for other numbers."""
    classes = np.full(pixels.shape, NO_CLASS, np.int16)
    for number, label in labels.items():
        classes[pixels == number] = label
    return classes


def mask_targets(examples: Examples, indices: Sequence[int], size: tuple[int, int]) -> Tensor:
    """The masks of pictures at the places of the network's output, (n, height, width), of int16: each place has the class of the
    pixel in its middle."""
    targets = torch.empty(len(indices), *size, dtype=torch.int16)
    for i, index in enumerate(indices):
        whole = Image.fromarray(mask_of(examples, index).astype(np.int32))
        resized = np.array(whole.resize(size[::-1], Image.Resampling.NEAREST))
        targets[i] = torch.from_numpy(resized.astype(np.int16))
    return targets


def confusion(found: NDArray[np.integer], true: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """How many pixels of each true class, by row, are found as each class, by column; pixels without a class do not count."""
    known = true != NO_CLASS
    pairs = true[known].astype(np.int64) * classes + found[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

"""The input `pixels` of image models: an unnormalised image of the network's size, UINT8 `[height, width, 3]` a row.

It takes the place of the network's FP32 tensor and has a quarter of its bytes. It is normalised when rows are collated, with the
same numbers that `ImageReader.normalise` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe, LabelledImageRecipe, RecordRecipe, ScaledImageRecipe
from model_zoo.cards.signature import TensorSpec
from service.types import Array, Item

PIXELS = "pixels"
CHANNELS = 3


class PixelsInput:
    """Describes the input `pixels` of one model, and normalises its rows. Immutable, so every lane may call it."""

    def __init__(self, recipe: ImageRecipe, replaces: str) -> None:
        """`replaces`: the FP32 input of the signature, which `pixels` takes the place of."""
        self.replaces = replaces
        self.spec = TensorSpec(name=PIXELS, datatype="UINT8", shape=(-1, *recipe.size, CHANNELS))
        scale, shift = normalisation(recipe)
        width = recipe.size[1]
        # One factor and one summand for each number of a line of pixels: NumPy is slow along an axis of 3.
        self._scale, self._shift = np.tile(scale, width), np.tile(shift, width)

    def stack(self, items: Sequence[Item]) -> Array:
        """Rows of either input → FP32 `[rows, 3, height, width]`, which owns its memory.

        With `pixels` among the rows the channels are innermost in memory, as the networks take them.
        """
        if not any(PIXELS in item.tensors for item in items):
            return np.stack([item.tensors[self.replaces] for item in items])
        _, height, width, _ = self.spec.shape
        batch = np.empty((len(items), height, width, CHANNELS), np.float32)
        lines = batch.reshape(len(items), height, width * CHANNELS)
        for i, item in enumerate(items):
            pixels = item.tensors.get(PIXELS)
            if pixels is None:
                batch[i] = item.tensors[self.replaces].transpose(1, 2, 0)
            else:
                np.multiply(pixels.reshape(lines.shape[1:]), self._scale, out=lines[i])
                lines[i] += self._shift
        return batch.transpose(0, 3, 1, 2)


def pixels_input(card: Card) -> PixelsInput | None:
    """The input `pixels` of a model; None for a model whose network takes no normalised image."""
    recipe = card.recipe.image if isinstance(card.recipe, RecordRecipe | LabelledImageRecipe) else card.recipe
    if not isinstance(recipe, ImageRecipe):
        return None
    image = card.signature.inputs[0]
    takes_image = image.datatype == "FP32" and image.shape[1:] == (CHANNELS, *recipe.size)
    if not takes_image or any(spec.name == PIXELS for spec in card.signature.inputs):
        return None
    return PixelsInput(recipe, image.name)


def normalisation(recipe: ImageRecipe | ScaledImageRecipe) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`(x / 255 - mean) / std` as one factor and one summand for each channel, float32 `[3]`."""
    std = np.asarray(recipe.std, np.float32)
    return (1.0 / (255.0 * std)).astype(np.float32), (-np.asarray(recipe.mean, np.float32) / std).astype(np.float32)

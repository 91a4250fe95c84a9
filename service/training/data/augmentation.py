"""Image augmentation by timm's transforms, different in each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_zoo.cards.recipes import ImageRecipe

LEVELS: dict[str, dict[str, Any]] = {
    "light": {"scale": (0.6, 1.0), "hflip": 0.5, "color_jitter": None},
    "medium": {"scale": (0.35, 1.0), "hflip": 0.5, "color_jitter": 0.3},
    "strong": {"scale": (0.2, 1.0), "hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1"},
}
"""Arguments of `timm.data.create_transform`. Its default scale starts at 0.08, which suits training from scratch on a million
images; one in ten of such crops of a few hundred images shows nothing of the labelled object."""
CROP_MARGIN = 1.25
"""Images are cached at this multiple of the size that serving resizes to, so that crops can differ."""


def augmentation(recipe: ImageRecipe, level: str) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """A function from an image to a random variation of it, uint8 (3, height, width). It draws from Python's and torch's global
    generators."""
    import timm.data

    library: Any = timm.data  # its type stubs export nothing
    transform: Callable[[Image.Image], NDArray[np.uint8]] = library.create_transform(
        (3, *recipe.size),
        is_training=True,
        ratio=(3 / 4, 4 / 3),
        interpolation=recipe.interpolation,
        mean=recipe.mean,  # RandAugment fills uncovered pixels with it
        std=recipe.std,
        use_prefetcher=True,  # returns bytes: the whole batch is normalised at once
        **LEVELS[level],
    )
    return transform


def shrink_for_crops(image: Image.Image, recipe: ImageRecipe) -> Image.Image:
    """The image, no larger than augmentation needs. It has the proportions of serving if the recipe stretches images."""
    if recipe.stretch or recipe.stretch_to is not None:
        height, width = recipe.stretch_to or recipe.size
        size = round(CROP_MARGIN * width), round(CROP_MARGIN * height)
        return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    shorter = round(CROP_MARGIN * recipe.resize_shorter)
    scale = shorter / min(image.size)
    if scale >= 1.0:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)

"""Pictures that are varied anew in each epoch, by timm's transforms."""

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
"""What `timm.data.create_transform` is given. Its own scale begins at 0.08, which suits training from nothing on a million
pictures; of a few hundred one such crop in ten shows nothing of what the label says."""
ROOM = 1.25
"""Pictures are kept at so many times the side that serving resizes to, for crops to choose from."""


def variation(recipe: ImageRecipe, level: str) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """A picture → one of its variations, uint8 (3, height, width). Draws from Python's and torch's global generators."""
    import timm.data

    library: Any = timm.data  # says nothing of what it exports
    transform: Callable[[Image.Image], NDArray[np.uint8]] = library.create_transform(
        (3, *recipe.size),
        is_training=True,
        ratio=(3 / 4, 4 / 3),
        interpolation=recipe.interpolation,
        mean=recipe.mean,  # RandAugment fills what it uncovers with it
        std=recipe.std,
        use_prefetcher=True,  # stops at bytes: normalising is done on the whole batch
        **LEVELS[level],
    )
    return transform


def shrunk(image: Image.Image, recipe: ImageRecipe) -> Image.Image:
    """As much of a picture as variations need; in the proportions in which serving shows it, where it stretches it."""
    if recipe.stretch:
        height, width = recipe.size
        return image.resize((round(ROOM * width), round(ROOM * height)), Image.Resampling.BICUBIC, reducing_gap=2.0)
    shorter = round(ROOM * recipe.resize_shorter)
    scale = shorter / min(image.size)
    if scale >= 1.0:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)

"""Images that keep their proportions have the sizes of the library's own processors."""

from __future__ import annotations

import pytest
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.yolos.image_processing_yolos import get_size_with_aspect_ratio_yolos

from model_zoo.cards.recipes import ScaledImageRecipe
from service.tasks.image.scaled_images import scaled_size

SIZES = [
    (451, 300),
    (300, 451),
    (600, 400),
    (64, 64),
    (1, 1),
    (800, 1333),
    (4000, 3000),
    (333, 100),
    (101, 339),
    (797, 1331),
]


def recipe(shortest: int, longest: int, multiple: int = 1) -> ScaledImageRecipe:
    return ScaledImageRecipe(
        kind="scaled_image",
        shortest_edge=shortest,
        longest_edge=longest,
        multiple_of=multiple,
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@pytest.mark.parametrize("limits", [(800, 1333), (64, 90), (100, 200), (512, 513)])
@pytest.mark.parametrize("size", SIZES)
def test_size_is_that_of_detrs_processor(size: tuple[int, int], limits: tuple[int, int]) -> None:
    width, height = size
    expected = get_size_with_aspect_ratio((height, width), *limits)
    assert scaled_size(size, recipe(*limits)) == expected[::-1]


@pytest.mark.parametrize("limits", [(800, 1333), (64, 90), (512, 864), (160, 160)])
@pytest.mark.parametrize("size", SIZES)
def test_size_is_that_of_yolos_processor(size: tuple[int, int], limits: tuple[int, int]) -> None:
    width, height = size
    expected = get_size_with_aspect_ratio_yolos((height, width), *limits)
    assert scaled_size(size, recipe(*limits, multiple=16)) == expected[::-1]

"""Variations of a picture are of what serving shows of it."""

import io

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.card import ImageRecipe
from model_zoo.catalog import Catalog
from service.tasks.image.image_input import ImageReader
from service.training.data.augmentation import CROP_MARGIN, shrink_for_crops


@pytest.mark.parametrize("size", [(900, 300), (30, 40)])
def test_a_base_that_stretches_pictures_learns_from_stretched_ones(size: tuple[int, int]) -> None:
    recipe = Catalog.from_package().get("mobilenetv2_100").recipe
    assert isinstance(recipe, ImageRecipe)
    assert recipe.stretch
    picture = shrink_for_crops(Image.linear_gradient("L").resize(size).convert("RGB"), recipe)
    assert picture.size == (round(CROP_MARGIN * recipe.size[1]), round(CROP_MARGIN * recipe.size[0]))


def test_other_pictures_keep_their_proportions_and_are_never_enlarged() -> None:
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    large = shrink_for_crops(Image.new("RGB", (3000, 1500)), recipe)
    assert large.size == (2 * large.height, round(CROP_MARGIN * recipe.resize_shorter))
    assert shrink_for_crops(Image.new("RGB", (30, 40)), recipe).size == (30, 40)


def test_transparent_pictures_are_learned_from_on_white() -> None:
    """As they are served: both read pictures by the same code."""
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    packed = io.BytesIO()
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(packed, "PNG")
    picture = shrink_for_crops(ImageReader(recipe).decode(packed.getvalue(), "photo").image, recipe)
    assert np.asarray(picture).min() == 255

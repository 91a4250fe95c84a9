"""Augmentation has the proportions and colours of serving."""

import io

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.recipes import ImageRecipe
from model_zoo.catalog import Catalog
from service.tasks.image.image_input import ImageReader
from service.training.data.augmentation import CROP_MARGIN, shrink_for_crops


@pytest.mark.parametrize("size", [(900, 300), (30, 40)])
def test_base_that_stretches_images_trains_on_stretched_images(size: tuple[int, int]) -> None:
    recipe = Catalog.from_package().get("mobilenetv2_100").recipe
    assert isinstance(recipe, ImageRecipe)
    assert recipe.stretch
    image = shrink_for_crops(Image.linear_gradient("L").resize(size).convert("RGB"), recipe)
    assert image.size == (round(CROP_MARGIN * recipe.size[1]), round(CROP_MARGIN * recipe.size[0]))


def test_other_images_keep_proportions_and_are_never_enlarged() -> None:
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    large = shrink_for_crops(Image.new("RGB", (3000, 1500)), recipe)
    assert large.size == (2 * large.height, round(CROP_MARGIN * recipe.resize_shorter))
    assert shrink_for_crops(Image.new("RGB", (30, 40)), recipe).size == (30, 40)


def test_transparent_images_are_drawn_on_white() -> None:
    """As in serving: both use the same reader."""
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    packed = io.BytesIO()
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(packed, "PNG")
    image = shrink_for_crops(ImageReader(recipe).decode(packed.getvalue(), "photo").image, recipe)
    assert np.asarray(image).min() == 255

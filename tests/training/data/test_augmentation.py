"""Variations of a picture are of what serving shows of it."""

import io

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.recipes import ImageRecipe
from model_zoo.catalog import Catalog
from service.tasks.image.image_input import ImageReader
from service.training.data.augmentation import ROOM, shrunk


@pytest.mark.parametrize("size", [(900, 300), (30, 40)])
def test_a_base_that_stretches_pictures_learns_from_stretched_ones(size: tuple[int, int]) -> None:
    recipe = Catalog.from_package().get("mobilenetv2_100").recipe
    assert isinstance(recipe, ImageRecipe)
    assert recipe.stretch
    picture = shrunk(Image.linear_gradient("L").resize(size).convert("RGB"), recipe)
    assert picture.size == (round(ROOM * recipe.size[1]), round(ROOM * recipe.size[0]))


def test_other_pictures_keep_their_proportions_and_are_never_enlarged() -> None:
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    large = shrunk(Image.new("RGB", (3000, 1500)), recipe)
    assert large.size == (2 * large.height, round(ROOM * recipe.resize_shorter))
    assert shrunk(Image.new("RGB", (30, 40)), recipe).size == (30, 40)


def test_transparent_pictures_are_learned_from_on_white() -> None:
    """As they are served: both read pictures by the same code."""
    recipe = Catalog.from_package().get("efficientnet_lite0").recipe
    assert isinstance(recipe, ImageRecipe)
    packed = io.BytesIO()
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(packed, "PNG")
    picture = shrunk(ImageReader(recipe).decode(packed.getvalue(), "photo").image, recipe)
    assert np.asarray(picture).min() == 255

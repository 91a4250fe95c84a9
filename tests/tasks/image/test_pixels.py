"""`pixels`, UINT8 and not normalised, is the same image as the network's own tensor."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.cards.signature import TensorSpec
from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.tasks.base import Task
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.image.image_input import ImageInput, ImageReader
from service.tasks.image.image_tabular_regression import ImageTabularRegression
from service.tasks.image.pixels import pixels_input
from service.types import Item, TensorInstance
from tests.support.tasks.structured_cards import record_card, series_card, table_card

CATALOG = Catalog.from_package()
CARD = CATALOG.get("efficientnet_lite0")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture
def task() -> ComposedTask:
    return ComposedTask(ImageInput, LabelAnswers, CARD, [f"class {i}" for i in range(1000)])


def images(count: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (count, 224, 224, 3), np.uint8)


def normalised(image: Pixels, card: Card = CARD) -> Any:
    return ImageReader(card.recipe).normalise(Image.fromarray(image))  # type: ignore[arg-type]


def row(task: Task, **tensors: Any) -> Item:
    return task.row(TensorInstance(tensors), "instances[0]")


def refusal(task: Task, **tensors: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        row(task, **tensors)
    return raised.value


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv2_100"])
def test_pixels_are_normalised_as_a_decoded_image_is(name: str) -> None:
    card = CATALOG.get(name)
    found = pixels_input(card)
    assert found is not None
    given = images(3)
    batch = found.stack([Item({"pixels": image}) for image in given])
    assert (batch.dtype, batch.shape) == (np.float32, (3, 3, 224, 224))
    np.testing.assert_array_equal(batch, [normalised(image, card) for image in given])


def test_rows_of_both_inputs_share_a_batch(task: ComposedTask) -> None:
    given = images(4)
    floats = [row(task, pixel_values=normalised(image)) for image in given]
    whole = [row(task, pixels=image) for image in given]
    mixed, padding = task.collate([whole[0], floats[1], floats[2], whole[3]])
    assert padding == 0.0
    assert mixed.keys() == {"pixel_values"}
    np.testing.assert_array_equal(mixed["pixel_values"], task.collate(floats)[0]["pixel_values"])
    alone = np.concatenate([task.collate([item])[0]["pixel_values"] for item in whole])
    np.testing.assert_array_equal(mixed["pixel_values"], alone)


def test_batch_owns_its_memory(task: ComposedTask) -> None:
    image = images(1)
    image.flags.writeable = False
    batch = task.collate([row(task, pixels=image[0])])[0]["pixel_values"]
    assert batch.flags.writeable
    assert not np.shares_memory(batch, image)


def test_wrong_pixels_are_named(task: ComposedTask) -> None:
    image = images(1)[0]
    wrong = refusal(task, pixels=image.astype(np.float32))
    assert (wrong.field, wrong.problem) == ("instances[0].pixels", "expected UINT8, got float32")
    wrong = refusal(task, pixels=image[:200])
    assert wrong.problem == "expected shape [224, 224, 3] a row, got [200, 224, 3]"
    wrong = refusal(task, pixels=image.transpose(2, 0, 1))
    assert wrong.problem == "expected shape [224, 224, 3] a row, got [3, 224, 224]"
    wrong = refusal(task, pixels=image, pixel_values=normalised(image))
    assert (wrong.field, wrong.problem) == ("instances[0].pixels", "expected pixels or pixel_values, got both")
    wrong = refusal(task, pixels=image, more=image)
    assert wrong.field == "instances[0].more"
    wrong = refusal(task, image=image)
    assert wrong.problem == ("the model has no such input; it takes pixel_values, and pixels in place of pixel_values")


def test_record_takes_pixels_beside_its_columns() -> None:
    card = record_card()
    task = ImageTabularRegression(card)
    image, columns = images(1)[0], np.arange(7, dtype=np.float32)
    item = row(task, pixels=image, columns=columns)
    batch = task.collate([item])[0]
    recipe = card.recipe.image  # type: ignore[union-attr]
    np.testing.assert_array_equal(batch["pixel_values"][0], ImageReader(recipe).normalise(Image.fromarray(image)))
    np.testing.assert_array_equal(batch["columns"][0], columns)
    assert refusal(task, pixels=image).problem == (
        "input columns is missing; the model takes pixel_values, columns, and pixels in place of pixel_values"
    )


@pytest.mark.parametrize(
    "card",
    [CATALOG.get("all_minilm_l6_v2"), CATALOG.get("silero_vad"), table_card(), series_card()],
    ids=lambda card: card.recipe.kind,
)
def test_model_of_no_images_has_no_pixels(card: Card) -> None:
    assert pixels_input(card) is None


def test_input_of_the_signature_keeps_its_name() -> None:
    taken = TensorSpec(name="pixels", datatype="FP32", shape=(-1, 3, 224, 224))
    signature = CARD.signature.model_copy(update={"inputs": (taken,)})
    assert pixels_input(CARD.model_copy(update={"signature": signature})) is None


def test_network_of_another_layout_has_no_pixels() -> None:
    other = TensorSpec(name="pixel_values", datatype="FP32", shape=(-1, 3, 96, 96))
    signature = CARD.signature.model_copy(update={"inputs": (other,)})
    assert pixels_input(CARD.model_copy(update={"signature": signature})) is None

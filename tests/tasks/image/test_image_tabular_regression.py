"""A photo and a row make one item, or an error that names the wrong part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.recipes import RowRecipe
from model_zoo.cards.tuned_parts import HeadSpec, TargetScale
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import NumberExpectation
from model_zoo.materialised import Materialised
from service.errors import InvalidInput
from service.runtime.network import NetworkRuntime
from service.tasks.image.image_input import ImageInput
from service.tasks.image.image_tabular_regression import ImageTabularRegression
from service.tasks.table import task_for
from service.types import ImageInstance, Instance, Item, Options, RecordInstance, Regression, RowInstance, TextInstance
from tests.support.tasks.pictures import encoded, photo
from tests.support.tasks.structured_cards import record_card

ROW = RowInstance({"area": 90, "rooms": 4, "town": "Köln", "lift": True})


def outcome(**parts: Instance) -> Any:
    [found] = ImageTabularRegression(record_card()).preprocess([RecordInstance(parts)], ["instances[1]"])
    return found


def test_photo_and_columns_make_one_item(examples: Path) -> None:
    data = encoded(photo(examples), "PNG")
    item = outcome(image=ImageInstance(data), row=ROW)
    assert isinstance(item, Item)
    assert item.tensors["columns"].tolist() == [1, 1, 0, 1, 0, 0, 1]
    card = record_card()
    plain = card.model_copy(update={"recipe": card.recipe.image, "raw_input": "image"})  # type: ignore[union-attr]
    [alone] = ImageInput(plain).preprocess([ImageInstance(data)], [""])
    assert isinstance(alone, Item)
    np.testing.assert_array_equal(item.tensors["pixel_values"], alone.tensors["pixel_values"])


def test_filled_in_cells_are_noted(examples: Path) -> None:
    item = outcome(image=ImageInstance(encoded(photo(examples), "PNG")), row=RowInstance({"area": 90}))
    assert dict(item.notes) == {"empty_columns": "rooms, town, lift"}


@pytest.mark.parametrize(
    ("parts", "field", "says"),
    [
        ({"row": ROW}, "instances[1].image", "expected an encoded image, got none"),
        ({"image": ImageInstance(b"x")}, "instances[1].row", "expected a row of a table, got none"),
        ({"image": TextInstance(b"x"), "row": ROW}, "instances[1].image", "got something else"),
        (
            {"image": ImageInstance(b"ten bytes."), "row": ROW},
            "instances[1].image",
            "expected a JPEG, PNG or WebP image",
        ),
        ({"image": ImageInstance(b"x"), "row": RowInstance({"arae": 1})}, "instances[1].row.arae", "mean 'area'"),
        ({"image": ImageInstance(b"x"), "row": ROW, "sound": ROW}, "instances[1].sound", "and nothing else"),
    ],
)
def test_wrong_part_is_named(parts: dict[str, Any], field: str, says: str) -> None:
    wrong = outcome(**parts)
    assert isinstance(wrong, InvalidInput)
    assert wrong.field == field
    assert says in wrong.problem


def test_photo_without_a_record_is_refused() -> None:
    [wrong] = ImageTabularRegression(record_card()).preprocess([ImageInstance(b"x")], ["instances[0]"])
    assert isinstance(wrong, InvalidInput)
    assert "expected record or tensors for model 'my_records', got image" in wrong.message


def test_record_of_a_table_without_columns_needs_only_the_photo(examples: Path) -> None:
    task = ImageTabularRegression(record_card(RowRecipe(kind="row")))
    image = ImageInstance(encoded(photo(examples), "PNG"))
    for parts in ({"image": image}, {"image": image, "row": RowInstance({})}):
        [item] = task.preprocess([RecordInstance(parts)], ["x"])
        assert isinstance(item, Item)
        assert list(item.tensors) == ["pixel_values"]


class Brightness(Network):
    """A backbone that computes the mean of each colour."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Identity()

    def features(self, **inputs: torch.Tensor) -> torch.Tensor:
        """(B, 3)."""
        return inputs["pixel_values"].mean(dim=(2, 3))


def test_head_gets_features_and_columns(examples: Path) -> None:
    """The answer depends on both, and is in the target's units."""
    task = ImageTabularRegression(record_card(target=TargetScale(mean=100, std=10, lower=-1, upper=2)))
    torch.manual_seed(0)
    head = Head(HeadSpec(kind="linear", inputs=3 + 7, outputs=1, output="value", columns=7))
    runtime = NetworkRuntime(TunedNetwork(Brightness(), head).eval(), "cpu")
    bright = photo(examples)
    images = [ImageInstance(encoded(image, "PNG")) for image in (bright, bright.point(lambda v: v // 4))]
    rows = [ROW, RowInstance({"area": 30})]
    records = [RecordInstance({"image": image, "row": row}) for image in images for row in rows]
    items = [item for item in task.preprocess(records, ["x"] * 4) if isinstance(item, Item)]
    outputs = task.split(runtime.run(task.collate(items)[0]), items)
    found = [task.postprocess(row, item, Options()) for row, item in zip(outputs, items, strict=True)]
    values = [round(answer.value, 3) for answer in found if isinstance(answer, Regression)]
    assert len(set(values)) == 4
    first = found[0]
    assert isinstance(first, Regression)
    assert (first.lower, first.upper) == (first.value - 1, first.value + 2)
    assert first.value == pytest.approx(100 + 10 * float(outputs[0]["value"][0]), rel=1e-6)


def test_card_gets_its_task_and_a_warmup_item(tmp_path: Path) -> None:
    task = task_for(record_card(), Materialised(tmp_path, tmp_path / "model.safetensors", {}, ""))
    assert isinstance(task, ImageTabularRegression)
    item = task.warmup_item()
    assert {name: array.shape for name, array in item.tensors.items()} == {
        "pixel_values": (3, 224, 224),
        "columns": (7,),
    }


def test_golden_case_of_a_record_is_its_picture_and_row_and_judges_the_number() -> None:
    card = Catalog.from_package().get("fashion_price")
    case = card.golden[0]
    assert isinstance(case.expect, NumberExpectation)
    task = ImageTabularRegression(card)
    instance = task.golden_instance(case.input)
    assert isinstance(instance, RecordInstance)
    assert instance.parts["row"] == RowInstance(case.input.row or {})
    [item] = task.preprocess([instance], [""])
    assert isinstance(item, Item)
    number, tolerance = case.expect.number, case.expect.tolerance
    assert task.golden_problem(case.expect, Regression(number + tolerance / 2), {}) is None
    assert "got" in (task.golden_problem(case.expect, Regression(number + 2 * tolerance), {}) or "")

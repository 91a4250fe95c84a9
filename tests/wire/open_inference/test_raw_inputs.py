"""Images come with texts for models that compare the two; wrong shapes are named before any element is read."""

from typing import Any

import numpy as np
import pytest

from model_zoo.cards.card import Batching
from model_zoo.cards.recipes import ImageRecipe, LabelledImageRecipe, TextRecipe
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import LabelledImageInstance
from service.wire.open_inference.model_config import shown_inputs
from service.wire.open_inference.requests import infer_request
from service.wire.open_inference.tensors import encode
from tests.support.wire.fakes import card, spec

RECIPE = LabelledImageRecipe(
    kind="labelled_image",
    image=ImageRecipe(
        kind="image",
        size=(2, 2),
        resize_shorter=2,
        interpolation="bilinear",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    text=TextRecipe(kind="text", max_tokens=8, pad_id=0, max_characters=100),
    vocabulary=100,
)
PLAIN = card(
    "matcher",
    "image",
    "raw",
    [spec("pixel_values", "FP32", -1, 3, 2, 2), spec("input_ids", "INT64", -1, -1, -1)],
    [spec("logits", "FP32", -1, -1)],
)
MATCHER = PLAIN.model_copy(
    update={
        "recipe": RECIPE,
        "batching": Batching(max_batch_size=8, length_of="input_ids", max_length=100),
    }
)


def request(**inputs: list[list[bytes]]) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="matcher")
    for name, rows in inputs.items():
        made.inputs.add(name=name, datatype="BYTES", shape=[len(rows), len(rows[0])])
        made.raw_input_contents.append(encode(np.array([one for row in rows for one in row], object), "BYTES"))
    return made


@pytest.mark.parametrize("first", ["image", "text"])
def test_each_image_has_its_own_texts_in_any_order_of_inputs(first: str) -> None:
    given = {"image": [[b"1"], [b"2"]], "text": [[b"a", b"b"], [b"c", b"d"]]}
    ordered = {first: given[first], **given}
    assert infer_request(request(**ordered), MATCHER, None).instances == [
        LabelledImageInstance(b"1", (b"a", b"b")),
        LabelledImageInstance(b"2", (b"c", b"d")),
    ]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"image": [[b"1"]]}, "inputs"),
        ({"text": [[b"1"]]}, "inputs[0].name"),
        ({"image": [[b"1"]], "text": [[b"a"], [b"b"]]}, "inputs[1].shape"),
        ({"image": [[b"1", b"2"]], "text": [[b"a"]]}, "inputs[0].shape"),
        ({"image": [[b"1"]], "text": [[b"a"] * 101]}, "inputs[1].shape"),
        ({"image": [[b"1"]] * 101, "text": [[b"a"] * 100] * 101}, "inputs[1].shape"),
    ],
)
def test_wrong_input_is_named(inputs: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        infer_request(request(**inputs), MATCHER, None)
    assert raised.value.field == field


@pytest.mark.parametrize("shape", [[1], [1, 0], [-1, 1], [1, 1, 1]])
def test_texts_of_another_shape_are_refused(shape: list[int]) -> None:
    made = request(image=[[b"1"]], text=[[b"a"]])
    made.inputs[1].ClearField("shape")
    made.inputs[1].shape.extend(shape)
    with pytest.raises(InvalidInput) as raised:
        infer_request(made, MATCHER, None)
    assert raised.value.field == "inputs[1].shape"
    assert "1 to 100 texts" in raised.value.message


def test_both_inputs_are_shown() -> None:
    assert shown_inputs(MATCHER) == [("image", "BYTES", [-1, 1]), ("text", "BYTES", [-1, -1])]

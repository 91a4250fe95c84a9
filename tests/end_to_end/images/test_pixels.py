"""`pixels`, an image as UINT8 that is not normalised yet, through every method that carries tensors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.catalog import Catalog
from service.pb import open_inference_pb2
from service.tasks.image.image_input import ImageReader, resize_and_crop
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S
from tests.support.end_to_end.stubs import (
    CNN,
    TRANSFORMER,
    Stubs,
    ask,
    expect_error,
    infer,
    outputs,
    read_tensors,
    tensors,
)

CARD = Catalog.from_package().get(CNN)
READER = ImageReader(CARD.recipe)  # type: ignore[arg-type]
ATOL = CARD.tolerance.max_abs_error
PHOTOS = sorted(EXAMPLES.glob("*.jpg"))


def image(path: Path) -> np.ndarray:
    """A photo as the recipe crops it, `[224, 224, 3]`."""
    return np.asarray(resize_and_crop(READER.decode(path.read_bytes(), ""), READER.recipe))


def normalised(pixels: np.ndarray) -> np.ndarray:
    return READER.normalise(Image.fromarray(pixels))


@pytest.fixture(scope="module")
def expected(stubs: Stubs) -> np.ndarray:
    """Logits of the photos as they are."""
    return outputs(stubs.infer(infer(CNN, image=[path.read_bytes() for path in PHOTOS])))["logits"]


def test_pixels_have_the_logits_of_the_photo(stubs: Stubs, expected: np.ndarray) -> None:
    images = np.stack([image(path) for path in PHOTOS])
    together = outputs(stubs.infer(infer(CNN, pixels=images)))["logits"]
    np.testing.assert_allclose(together, expected, rtol=0, atol=ATOL)
    for one, row in zip(images, together, strict=True):
        alone = outputs(stubs.infer(infer(CNN, pixels=one[None])))["logits"]
        np.testing.assert_allclose(alone[0], row, rtol=0, atol=ATOL)


def test_requests_of_both_inputs_at_once_get_their_own_answers(stubs: Stubs, expected: np.ndarray) -> None:
    images = [image(path) for path in PHOTOS]
    requests = [infer(CNN, pixels=one[None]) for one in images]
    requests += [infer(CNN, pixel_values=normalised(one)[None]) for one in images]
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(stubs.infer, requests * 4))
    for i, reply in enumerate(replies):
        row = outputs(reply)["logits"][0]
        np.testing.assert_allclose(row, expected[i % len(images)], rtol=0, atol=ATOL)


def test_pixels_are_answered_on_a_stream(stubs: Stubs, expected: np.ndarray) -> None:
    requests = []
    for i, path in enumerate(PHOTOS):
        requests.append(infer(CNN, pixels=image(path)[None]))
        requests[-1].id = str(i)
    wrong = infer(CNN, pixels=np.zeros((1, 8, 8, 3), np.uint8))
    wrong.id = "wrong"
    replies = {
        reply.infer_response.id: reply
        for reply in stubs.inference.ModelStreamInfer(iter([*requests, wrong]), timeout=TIMEOUT_S)
    }
    assert replies.pop("wrong").error_message == "inputs[0].shape: model takes [-1, 224, 224, 3], got [1, 8, 8, 3]"
    for number, reply in replies.items():
        row = outputs(reply.infer_response)["logits"][0]
        np.testing.assert_allclose(row, expected[int(number)], rtol=0, atol=ATOL)
    assert len(replies) == len(PHOTOS)


def test_pixels_are_answered_by_predict(stubs: Stubs, expected: np.ndarray) -> None:
    images = [image(path) for path in PHOTOS]
    reply = stubs.predict(ask(CNN, tensors(pixels=images[0]), tensors(pixel_values=normalised(images[1]))))
    for result, row in zip(reply.predictions, expected, strict=False):
        np.testing.assert_allclose(read_tensors(result.tensors)["logits"], row, rtol=0, atol=ATOL)
    reply = stubs.predict(ask(CNN, tensors(pixels=images[0]), tensors(pixels=images[0][:100])))
    assert reply.predictions[0].HasField("tensors")
    assert reply.predictions[1].error.message == (
        "instances[1].pixels: expected shape [224, 224, 3] a row, got [100, 224, 3]"
    )
    both: dict[str, Any] = tensors(pixels=images[0], pixel_values=normalised(images[0]))
    refusal = expect_error(lambda: stubs.predict(ask(CNN, both)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "instances[0].pixels")
    assert refusal.message == "instances[0].pixels: expected pixels or pixel_values, got both"
    refusal = expect_error(lambda: stubs.predict(ask(TRANSFORMER, tensors(pixels=images[0]))))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "instances[0].pixels")


def test_pixels_are_no_input_of_the_metadata_but_a_parameter_of_the_config(stubs: Stubs) -> None:
    metadata = stubs.inference.ModelMetadata(open_inference_pb2.ModelMetadataRequest(name=CNN), timeout=TIMEOUT_S)
    assert [tensor.name for tensor in metadata.inputs] == ["pixel_values"]
    config = stubs.inference.ModelConfig(open_inference_pb2.ModelConfigRequest(name=CNN), timeout=TIMEOUT_S).config
    shown = config.parameters["alternative_input"].string_value
    assert shown == "pixels UINT8 [-1, 224, 224, 3] in place of pixel_values"
    assert json.loads(shown.split("UINT8 ")[1].split(" in ")[0]) == [-1, 224, 224, 3]

"""A pulled detector finds what the pipeline of transformers finds in the same photos."""

from __future__ import annotations

import io
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from service.errors import InvalidInput
from service.references.verification_inputs import PHOTOS
from service.tasks.image.scaled_images import ScaledImages
from service.types import Detections, ImageInstance, Item, Options, TensorInstance
from service.verification.golden_check import golden_problem
from service.verification.probes import invariance_problem, probe_items
from tests.support.references.pulled import RunningModel, edges, photo, pulled_here
from tests.support.references.tiny_vision import DETECTORS

FIXED, SCALED = ("rt_detr",), ("detr", "yolos")


@pytest.fixture(scope="module", params=DETECTORS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningModel:
    root = tmp_path_factory.mktemp(request.param)
    return pulled_here(DETECTORS[request.param], root / request.param, root / "home")


def upright() -> bytes:
    """A photo that is higher than it is wide."""
    written = io.BytesIO()
    Image.open(io.BytesIO(photo("coffee.jpg"))).rotate(-90, expand=True).save(written, "PNG")
    return written.getvalue()


def found(model: RunningModel, data: bytes, **options: Any) -> Detections:
    answer = model.answer(data, Options(**options))
    assert isinstance(answer, Detections)
    return answer


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("threshold", [0.5, 0.0])
def test_objects_are_those_of_the_pipeline(model: RunningModel, name: str, threshold: float) -> None:
    pipeline: Any = transformers.pipeline
    pipe = pipeline("object-detection", model=str(model.folder), device="cpu")
    expected = sorted(pipe(Image.open(io.BytesIO(photo(name))), threshold=threshold), key=lambda one: -one["score"])
    mine = found(model, photo(name), threshold=threshold)
    assert len(mine.objects) == len(expected) > 0
    for one in expected:  # two of nearly equal scores may change places
        assert any(
            one["label"] == other.name
            and abs(one["score"] - other.score) < 0.02
            and np.abs(edges(one["box"]) - astuple(other.box)).max() < 0.02 * mine.width + 1  # it rounds down
            for other in mine.objects
        ), one


def test_answer_names_the_size_of_the_image_that_was_sent(model: RunningModel) -> None:
    answer = found(model, photo("cat.jpg"))
    assert (answer.width, answer.height) == Image.open(io.BytesIO(photo("cat.jpg"))).size
    scores = [one.score for one in answer.objects]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0.5


def test_best_objects_and_those_above_a_threshold_can_be_asked_for(model: RunningModel) -> None:
    every = found(model, photo("cat.jpg"), threshold=0.0).objects
    assert found(model, photo("cat.jpg"), threshold=0.0, top_k=3).objects == every[:3]
    assert found(model, photo("cat.jpg"), threshold=1.0).objects == ()
    limit = every[1].score
    assert all(one.score > limit for one in found(model, photo("cat.jpg"), threshold=limit).objects)


def test_turned_photo_has_boxes_of_the_upright_image(model: RunningModel) -> None:
    image = Image.open(io.BytesIO(photo("coffee.jpg")))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    image.save(turned, "PNG", exif=exif)
    assert found(model, turned.getvalue()) == found(model, upright())


def test_rows_of_a_batch_equal_single_rows(model: RunningModel) -> None:
    items = [*probe_items(model.task), model.item(upright())]
    alone = [model.alone(item) for item in items]
    assert invariance_problem(model.task, model.runtime, alone, items) is None
    assert golden_problem(model.task, model.runtime) is None


def test_only_images_of_one_size_share_a_batch(model: RunningModel) -> None:
    items = [model.item(data) for data in (photo("cat.jpg"), upright(), photo("coffee.jpg"), upright())]
    scaled = isinstance(model.task, ScaledImages)
    assert scaled == (model.pulled.card.recipe.kind == "scaled_image")
    assert model.task.groups(items) == ([[0, 2], [1, 3]] if scaled else [[0, 1, 2, 3]])


def test_image_that_no_network_takes_is_refused(model: RunningModel) -> None:
    narrow = io.BytesIO()
    Image.new("RGB", (3000, 1)).save(narrow, "PNG")
    (outcome,) = model.task.preprocess([ImageInstance(narrow.getvalue())], ["instances[0].image"])
    if not isinstance(model.task, ScaledImages):
        assert isinstance(outcome, Item)
        return
    assert isinstance(outcome, InvalidInput)
    assert (outcome.field, "too narrow" in outcome.problem) == ("instances[0].image", True)
    for sides in ((3, 0, 160), (3, 160, 5000)):
        with pytest.raises(InvalidInput, match="expected sides of"):
            model.task.row(TensorInstance({"pixel_values": np.zeros(sides, np.float32)}), "inputs[0][0]")
    assert model.task.row(TensorInstance({"pixel_values": np.zeros((3, 160, 224), np.float32)}), "").length == 1


def test_warm_up_has_a_size_that_the_network_takes(model: RunningModel) -> None:
    row = model.alone(model.task.warmup_item())
    assert row["pred_boxes"].shape[1] == 4


def test_card_says_how_boxes_are_scored(model: RunningModel, tmp_path: Path) -> None:
    card = model.pulled.card
    assert card.boxes is not None
    assert card.boxes.scores == ("sigmoid" if card.name == "rt_detr" else "softmax")
    assert card.class_names == ("cat", "cup", "rocket")
    assert [tuple(spec.shape[1:]) for spec in card.signature.outputs] == [
        array.shape for array in model.alone(model.item(photo("cat.jpg"))).values()
    ]

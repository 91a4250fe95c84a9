"""Logits and boxes become the objects that the makers' own code makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from model_zoo.cards.box_rule import BoxRule
from model_zoo.cards.recipes import ImageRecipe
from model_zoo.catalog import Catalog
from service.tasks.image.image_input import ImageInput
from service.tasks.image.object_detection import DetectionAnswers, candidates, corners_of, separate
from service.types import Detections, ImageInstance, Item, Options
from tests.support.tasks.pictures import encoded

LOGITS = np.random.default_rng(0).normal(size=(7, 4)) * 3


def test_softmax_gives_each_query_its_best_class_but_never_that_of_no_object() -> None:
    import torch

    scores, classes, queries = candidates(LOGITS, BoxRule(scores="softmax"))
    expected, labels = torch.tensor(LOGITS).softmax(-1)[:, :-1].max(-1)
    np.testing.assert_allclose(scores, expected.numpy())
    np.testing.assert_array_equal(classes, labels.numpy())
    np.testing.assert_array_equal(queries, np.arange(7))


@pytest.mark.parametrize(("candidates_", "count"), [(None, 7), (3, 3), (100, 28)])
def test_sigmoid_takes_the_best_pairs_of_query_and_class(candidates_: int | None, count: int) -> None:
    scores, classes, queries = candidates(LOGITS, BoxRule(scores="sigmoid", candidates=candidates_))
    probabilities = 1 / (1 + np.exp(-LOGITS))
    assert len(scores) == count
    np.testing.assert_allclose(np.sort(scores), np.sort(probabilities.ravel())[-count:])
    np.testing.assert_allclose(scores, probabilities[queries, classes])


def test_sigmoid_of_a_very_small_logit_is_zero_without_a_warning() -> None:
    scores, _, _ = candidates(np.full((2, 2), -1e4), BoxRule(scores="sigmoid"))
    assert scores.max() == 0.0


def test_centre_and_size_become_corners() -> None:
    np.testing.assert_allclose(corners_of(np.array([[0.5, 0.4, 0.2, 0.4]])), [[0.4, 0.2, 0.6, 0.6]])


# ── detectors with a box at each place ────────────────────────────────────────────────────────────────────────────

CARD = Catalog.from_package().get("nanodet")
CAT, DOG = CARD.class_names.index("cat"), CARD.class_names.index("dog")
NOTHING = -9.0


def rows(*objects: tuple[int, float, tuple[float, float, float, float]]) -> dict[str, np.ndarray]:
    """Outputs of a network that has found objects: class, logit, and box as shares of the image."""
    logits = np.full((3549, 80), NOTHING, np.float32)
    boxes = np.full((3549, 4), 0.01, np.float32)
    for place, (index, logit, box) in enumerate(objects):
        logits[place * 7, index] = logit
        boxes[place * 7] = box
    return {"logits": logits, "pred_boxes": boxes}


def detected(row: dict[str, np.ndarray], size: tuple[int, int] = (200, 100), **options: Any) -> Detections:
    codec = DetectionAnswers(CARD, CARD.class_names)
    return codec.postprocess(row, Item({}, image_size=size), Options(**options))


def test_of_boxes_for_one_object_the_best_remains() -> None:
    found = detected(
        rows(
            (CAT, 1.0, (0.50, 0.5, 0.4, 0.4)),
            (CAT, 3.0, (0.51, 0.5, 0.4, 0.4)),
            (DOG, 2.0, (0.51, 0.5, 0.4, 0.4)),
            (CAT, 0.5, (0.10, 0.1, 0.1, 0.1)),
        )
    )
    assert [(one.name, round(one.score, 2)) for one in found.objects] == [("cat", 0.95), ("dog", 0.88), ("cat", 0.62)]
    box = found.objects[0].box
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx((62, 30, 142, 70), abs=1e-3)


def test_box_that_reaches_beyond_the_picture_ends_at_its_edges() -> None:
    found = detected(rows((CAT, 3.0, (0.9, 0.1, 0.6, 0.6))))
    box = found.objects[0].box
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx((120, 0, 200, 40), abs=1e-3)


def test_box_of_a_detector_without_clipping_reaches_beyond_the_picture() -> None:
    rule = BoxRule(scores="sigmoid", candidates=10)
    _, corners = separate(np.zeros(1, np.intp), np.array([[-0.5, 0.0, 1.5, 1.0]]), rule)
    assert corners.tolist() == [[-0.5, 0.0, 1.5, 1.0]]


def test_same_outputs_give_boxes_in_the_pixels_of_each_picture() -> None:
    row = rows((CAT, 3.0, (0.5, 0.5, 0.5, 0.5)))
    for size in ((1, 1), (7000, 3), (3, 7000)):
        found = detected(row, size)
        box = found.objects[0].box
        assert (found.width, found.height) == size
        assert (box.xmin, box.xmax) == pytest.approx((size[0] / 4, size[0] * 3 / 4), rel=1e-5)
        assert (box.ymin, box.ymax) == pytest.approx((size[1] / 4, size[1] * 3 / 4), rel=1e-5)


def test_picture_has_no_more_objects_than_the_rule_allows() -> None:
    logits = np.full((3549, 80), 4.0, np.float32)  # all classes at all places
    boxes = np.random.default_rng(0).random((3549, 4)).astype(np.float32) * 0.01
    row = {"logits": logits, "pred_boxes": boxes}
    assert len(detected(row).objects) == 100
    assert len(detected(row, top_k=3).objects) == 3


def test_outputs_that_are_no_numbers_are_no_objects() -> None:
    row = rows((CAT, 3.0, (0.5, 0.5, 0.5, 0.5)))
    row["logits"][100:] = np.nan
    assert [one.name for one in detected(row, threshold=0.0).objects][:1] == ["cat"]
    row["logits"][:] = np.nan
    assert detected(row, threshold=0.0).objects == ()


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (417, 415)])
def test_picture_of_any_proportions_is_read_whole(size: tuple[int, int]) -> None:
    codec = ImageInput(CARD)
    data = encoded(Image.new("RGB", size, (255, 0, 0)), "PNG")
    (item,) = codec.preprocess([ImageInstance(data)], ["instances[0]"])
    assert isinstance(item, Item)
    assert item.image_size == size
    pixels = item.tensors["pixel_values"]
    assert pixels.shape == (3, 416, 416)
    assert isinstance(CARD.recipe, ImageRecipe)
    red = [((255.0, 0.0, 0.0)[i] / 255 - CARD.recipe.mean[i]) / CARD.recipe.std[i] for i in range(3)]
    np.testing.assert_allclose(pixels.astype(np.float64).mean(axis=(1, 2)), red, atol=1e-4)


@pytest.mark.parametrize(
    "fields", [{"max_overlap": 0.5}, {"max_overlap": 0.5, "candidates": 10}, {"max_overlap": 0.5, "max_objects": 10}]
)
def test_suppression_without_a_bound_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="max_overlap needs candidates and max_objects"):
        BoxRule(scores="sigmoid", **fields)

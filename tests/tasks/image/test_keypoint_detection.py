"""Places in the input of the network become points in pixels of the photo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import ExpectedKeypoint, KeypointsExpectation
from service.tasks.image.keypoint_detection import KeypointAnswers
from service.types import Item, Keypoints, Options

CARD = Catalog.from_package().get("movenet_lightning")
NOSE, EYE = CARD.class_names[:2]


def found(*points: tuple[float, float, float], size: tuple[int, int] = (200, 100), **options: Any) -> Keypoints:
    row = {"keypoints": np.array(points, np.float32)}
    return KeypointAnswers(CARD, CARD.class_names).postprocess(row, Item({}, image_size=size), Options(**options))


@pytest.mark.parametrize(
    ("size", "place"), [((200, 100), (50.0, 0.0)), ((100, 200), (0.0, 50.0)), ((80, 80), (20, 20))]
)
def test_places_are_in_pixels_of_the_photo_without_the_bars(size: tuple[int, int], place: tuple[float, float]) -> None:
    answer = found((0.25, 0.25, 0.9), size=size)
    assert (answer.width, answer.height) == size
    (point,) = answer.points
    assert (point.index, point.name) == (0, "nose")
    assert (point.x, point.y) == pytest.approx(place)


def test_points_below_the_threshold_are_left_out_and_the_others_keep_their_order() -> None:
    rows = ((0.5, 0.5, 0.4), (0.5, 0.5, 0.2), (0.5, 0.5, 0.9))
    assert [point.index for point in found(*rows).points] == [0, 2]
    assert [point.index for point in found(*rows, threshold=0.0).points] == [0, 1, 2]
    assert found(*rows, threshold=1.0).points == ()


def test_golden_case_names_what_is_wrong() -> None:
    codec = KeypointAnswers(CARD, CARD.class_names)
    answer = found((0.25, 0.5, 0.9), (0.5, 0.5, 0.9))

    def problem(name: str, x: float, at_most: int = 2) -> str | None:
        wanted = (ExpectedKeypoint(name=name, x=x, y=50),)
        return codec.golden_problem(
            KeypointsExpectation(keypoints=wanted, tolerance_pixels=5, at_most=at_most), answer, {}
        )

    assert problem(NOSE, 53) is None
    assert problem(NOSE, 40) == "expected 'nose' at (40, 50), got it at (50, 50)"
    assert problem("left_knee", 40) == "expected 'left_knee' at (40, 50), got none"
    assert problem(EYE, 100, at_most=1) == "expected at most 1 points, got 2"

"""Points and lines of a body on a picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from model_zoo.catalog import Catalog
from service.cli.rendering.skeleton import LINES, draw_skeleton
from service.client import Keypoint, Keypoints
from service.types import Timing

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def drawn(*points: tuple[str, float, float]) -> np.ndarray:
    found = tuple(Keypoint(i, name, x, y, 0.9) for i, (name, x, y) in enumerate(points))
    image = Image.new("RGB", (80, 60))
    answer = Keypoints(model="m", version=1, timing=Timing(), points=found, width=80, height=60)
    draw_skeleton(image, answer, [RED, GREEN][: len(found)])
    return np.asarray(image)


def test_two_neighbours_have_a_line_and_each_point_its_colour() -> None:
    found = drawn(("left_hip", 10, 30), ("left_knee", 70, 30))
    assert (tuple(found[30, 10]), tuple(found[30, 40]), tuple(found[30, 70])) == (RED, WHITE, GREEN)


@pytest.mark.parametrize("other", ["right_knee", "left_ankle", "unknown"])
def test_points_that_are_no_neighbours_have_no_line(other: str) -> None:
    assert not drawn(("left_hip", 10, 30), (other, 70, 30))[30, 40].any()


@pytest.mark.parametrize("far", [-1e30, 1e30, -20.0, float("inf"), float("nan")])
def test_point_beyond_the_edge_is_no_error(far: float) -> None:
    found = drawn(("left_hip", 10, 30), ("left_knee", far, 30))
    assert tuple(found[30, 10]) == RED


def test_every_end_of_a_line_is_a_point_of_the_network() -> None:
    assert {name for line in LINES for name in line} == {*Catalog.from_package().get("movenet_lightning").class_names}

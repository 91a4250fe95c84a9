"""Of boxes that overlap the best remains, class by class."""

import numpy as np
import pytest

from service.tasks.image.box_suppression import area, unsuppressed

Boxes = list[tuple[float, float, float, float]]


def kept(boxes: Boxes, classes: list[int], overlap: float = 0.5, most: int = 100) -> list[int]:
    return unsuppressed(np.array(boxes, np.float64).reshape(-1, 4), np.array(classes, np.intp), overlap, most).tolist()


def test_worse_box_of_the_same_class_is_dropped() -> None:
    assert kept([(0, 0, 10, 10), (1, 0, 11, 10), (20, 20, 30, 30)], [4, 4, 4]) == [0, 2]


def test_box_of_another_class_stays() -> None:
    assert kept([(0, 0, 10, 10), (0, 0, 10, 10)], [1, 2]) == [0, 1]


def test_dropped_box_drops_no_other() -> None:
    chain: Boxes = [(0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10)]
    assert kept(chain, [0, 0, 0]) == [0, 2]


def test_overlap_at_the_limit_is_allowed() -> None:
    assert kept([(0, 0, 2, 1), (0, 0, 1, 1)], [0, 0], overlap=0.5) == [0, 1]


def test_no_more_boxes_than_asked_for_remain() -> None:
    apart: Boxes = [(10.0 * i, 0, 10.0 * i + 1, 1) for i in range(20)]
    assert kept(apart, [0] * 20, most=7) == [*range(7)]


def test_boxes_without_an_area_overlap_nothing() -> None:
    assert kept([(5, 5, 5, 5), (5, 5, 5, 5), (0, 0, 10, 10)], [0, 0, 0]) == [0, 1, 2]


def test_no_boxes_give_none() -> None:
    assert kept([], []) == []


def test_area_of_a_box_that_is_turned_over_is_zero() -> None:
    assert area(np.array([[0, 0, 2, 3], [2, 0, 0, 3]], np.float64)).tolist() == [6.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_suppression_equals_that_of_torchvision(seed: int) -> None:
    import torch
    from torchvision.ops import batched_nms

    generator = np.random.default_rng(seed)
    corners = generator.random((200, 4))
    corners[:, 2:] = corners[:, :2] + generator.random((200, 2)) * 0.5
    classes = generator.integers(0, 4, 200)
    scores = torch.linspace(1, 0, 200, dtype=torch.float64)  # best first
    expected = batched_nms(torch.from_numpy(corners), scores, torch.from_numpy(classes), 0.4)
    assert unsuppressed(corners, classes.astype(np.intp), 0.4, 200).tolist() == sorted(expected.tolist())

"""Objects of two libraries are compared as sets, and a difference has its figure."""

from __future__ import annotations

import numpy as np
import pytest

from service.references.comparison.detections import farthest

A = np.array([[0, 0.9, 0.1, 0.1, 0.4, 0.4], [1, 0.8, 0.5, 0.5, 0.9, 0.9], [0, 0.8, 0.5, 0.5, 0.9, 0.9]])


def test_equal_objects_in_another_order_are_equal() -> None:
    assert farthest(A, A[::-1]) == 0.0


@pytest.mark.parametrize(("column", "change"), [(1, 0.03), (2, -0.05), (5, 0.07)])
def test_score_or_edge_that_differs_is_the_distance(column: int, change: float) -> None:
    other = A.copy()
    other[0, column] += change
    assert farthest(A, other) == pytest.approx(abs(change))


def test_object_of_another_class_is_no_match() -> None:
    other = A.copy()
    other[0, 0] = 2
    assert farthest(A[:1], other[:1]) == 1.0

"""Intersection over union, counted by hand."""

import numpy as np
import pytest

from service.training.evaluation.segmentation_metrics import by_class, segmentation

FIRST = [[6, 2, 0], [1, 3, 0], [0, 0, 0]]
SECOND = [[4, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_classes_count_by_all_their_pixels_and_absent_ones_do_not() -> None:
    counts = np.array([FIRST, SECOND])
    metrics = segmentation(counts)
    alike = np.ones((1, 2))
    assert metrics["mean_iou"](alike)[0] == pytest.approx((10 / 13 + 3 / 6) / 2)
    assert metrics["pixel_accuracy"](alike)[0] == pytest.approx(13 / 16)
    assert metrics["mean_iou"](np.array([[0.0, 3.0]])).tolist() == [1.0]
    first, second, absent = by_class(("a", "b", "c"), counts)
    assert (first.label, first.precision, first.recall, first.support) == ("a", 10 / 11, 10 / 12, 12)
    assert (first.iou, second.iou) == (pytest.approx(10 / 13), pytest.approx(3 / 6))
    assert (absent.support, absent.f1, absent.iou) == (0, 0.0, 0.0)

"""Metrics of the classes of pixels, as functions of the pictures' weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.evaluation.intervals import Statistic
from service.training.evaluation.measurements import ClassMetrics, class_of_counts

Floats = NDArray[np.float64]


def segmentation(confusions: NDArray[Any]) -> dict[str, Statistic]:
    """Of counts of pixels by picture, true class and found class, (n, classes, classes): mean_iou, the mean intersection over
    union of the classes that occur or are found, over all pixels together; and pixel_accuracy."""
    counts = np.asarray(confusions, np.float64)
    hits = np.diagonal(counts, axis1=1, axis2=2)  # (n, classes)
    either = counts.sum(axis=2) + counts.sum(axis=1) - hits

    def mean_iou(weights: Floats) -> Floats:
        union = weights @ either
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(union > 0, (weights @ hits) / union, 0.0)
            return np.asarray(shares.sum(axis=1) / (union > 0).sum(axis=1))

    def pixel_accuracy(weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((weights @ hits.sum(axis=1)) / (weights @ counts.sum(axis=(1, 2))))

    return {"mean_iou": mean_iou, "pixel_accuracy": pixel_accuracy}


def by_class(labels: Sequence[str], confusions: NDArray[Any]) -> tuple[ClassMetrics, ...]:
    """Each class of pixels, over all pictures together."""
    total = np.asarray(confusions, np.int64).sum(axis=0)
    hits, true, found = np.diag(total), total.sum(axis=1), total.sum(axis=0)
    shares = (hits / np.maximum(true + found - hits, 1)).tolist()
    counts = zip(labels, hits.tolist(), found.tolist(), true.tolist(), strict=True)
    return tuple(class_of_counts(*count, iou=iou) for count, iou in zip(counts, shares, strict=True))

"""Metrics of the classes of pixels, as functions of the pictures' weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.evaluation.intervals import Statistic

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


def by_class(confusions: NDArray[Any]) -> list[tuple[int, int, int, float]]:
    """(right, found, true) pixels of each class, and its intersection over union."""
    total = np.asarray(confusions, np.int64).sum(axis=0)
    hits, true, found = np.diag(total), total.sum(axis=1), total.sum(axis=0)
    union = np.maximum(true + found - hits, 1)
    return list(zip(hits.tolist(), found.tolist(), true.tolist(), (hits / union).tolist(), strict=True))

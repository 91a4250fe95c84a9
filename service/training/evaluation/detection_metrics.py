"""Average precision of boxes, as COCO measures it (https://cocodataset.org/#detection-eval), with weights of the pictures.

A found box is right if it overlaps a true one of its class by at least a threshold of intersection over union; the box with
the best score takes the true one that it overlaps most. The average precision of a class is the mean of the highest precision at
101 levels of recall.

Found boxes of a picture are rows of `COLUMNS` numbers: label (-1 fills up), score, corners as shares of the picture, and for
each of `THRESHOLDS` 1 if the box is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.tasks.image.object_detection import DEFAULT_THRESHOLD
from service.training.evaluation.intervals import Statistic
from service.training.evaluation.measurements import ClassMetrics, class_of_counts

Floats = NDArray[np.float64]

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""Of intersection over union."""
LABEL, SCORE, CORNERS, HITS = 0, 1, slice(2, 6), 6
"""Places of a found box's numbers; from `HITS` on there is one for each threshold."""
COLUMNS = HITS + len(THRESHOLDS)
LEVELS = 100
"""Levels of recall above 0."""
CHUNK = 2_000_000
"""Resamples × boxes that are counted at once."""


def judged(found: Sequence[Floats], true: Sequence[Floats], labels: int) -> tuple[Floats, NDArray[np.int64]]:
    """Found boxes of pictures beside their true ones, as `Predictions` has them.

    Args:
        found: (n, 6) each: label, score and corners.
        true: (n, 5) each: label and corners.

    Returns:
        (pictures, most boxes, COLUMNS), and how many boxes of each label are true, (pictures, labels).
    """
    outputs = np.zeros((len(found), max((len(rows) for rows in found), default=0) or 1, COLUMNS))
    outputs[..., LABEL] = -1
    targets = np.zeros((len(true), labels), np.int64)
    for i, (ours, theirs) in enumerate(zip(found, true, strict=True)):
        ordered = ours[np.argsort(-ours[:, SCORE], kind="stable")]
        outputs[i, : len(ordered), :HITS] = ordered
        outputs[i, : len(ordered), HITS:] = hits(ordered, theirs)
        targets[i] = np.bincount(theirs[:, 0].astype(np.int64), minlength=labels)
    return outputs, targets


def hits(found: Floats, true: Floats) -> Floats:
    """1 for each found box, (n, 6), best first, that is right at each threshold, and 0 for the others: (n, thresholds)."""
    right = np.zeros((len(found), len(THRESHOLDS)))
    if not len(found) or not len(true):
        return right
    overlap = overlaps(found[:, CORNERS], true[:, 1:])
    overlap[found[:, LABEL][:, None] != true[:, 0][None]] = 0.0
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(true), np.bool_)
        for i, row in enumerate(overlap):
            best = int(np.where(free, row, -1.0).argmax())
            if free[best] and row[best] >= threshold:
                free[best], right[i, t] = False, 1.0
    return right


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (n, 4) and (m, 4) of corners: (n, m)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = sides.clip(min=0).prod(axis=2)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def detection(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, Statistic]:
    """Of judged boxes: map, the mean over all thresholds, and map_50, at a threshold of 0.5; each is a mean over the labels of
    which there is a true box."""
    return {
        "map": _mean(outputs, targets, range(len(THRESHOLDS))),
        "map_50": _mean(outputs, targets, range(1)),
    }


def best_threshold(outputs: NDArray[Any], targets: NDArray[Any]) -> float | None:
    """The score, 0..1, from which on found boxes have the best F1 over all labels, at an overlap of half; None if none is
    right."""
    rows = outputs[outputs[..., LABEL] >= 0]
    rows = rows[np.argsort(-rows[:, SCORE], kind="stable")]
    right = np.cumsum(rows[:, HITS])
    if not len(rows) or not right[-1]:
        return None
    scores = rows[:, SCORE]
    f1 = 2.0 * right / (np.arange(1, len(rows) + 1) + np.asarray(targets).sum())
    f1[:-1][scores[:-1] == scores[1:]] = 0.0  # boxes of one score count together
    best = int(f1.argmax())
    below = scores[best + 1] if best + 1 < len(rows) else 0.0
    return float((scores[best] + below) / 2)


def average_precision(outputs: NDArray[Any], targets: NDArray[Any], label: int, weights: Floats) -> Floats:
    """The average precision of a label, (resamples, thresholds); NaN where no box of it is true.

    Args:
        weights: how often each picture counts, (resamples, pictures).
    """
    picture, number = np.nonzero(outputs[..., LABEL] == label)
    order = np.argsort(-outputs[picture, number, SCORE], kind="stable")
    picture, number = picture[order], number[order]
    right = np.asarray(outputs[picture, number, HITS:], np.float64)  # (boxes, thresholds)
    found = np.full((len(weights), len(THRESHOLDS)), np.nan)
    step = max(1, CHUNK // max(len(picture), 1))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        true = weights[part] @ targets[:, label]
        often = weights[part][:, picture]
        marked = np.cumsum(often, axis=1)
        for t in range(len(THRESHOLDS)):
            found[part, t] = _area(np.cumsum(often * right[:, t], axis=1), marked, true)
    return found


def by_class(labels: Sequence[str], outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[ClassMetrics, ...]:
    """Each label, of boxes that overlap by half; a box counts as found from the usual threshold of scores on."""
    sure = outputs[..., SCORE] > DEFAULT_THRESHOLD
    alike = np.ones((1, len(outputs)))
    found = []
    for k, (label, true) in enumerate(zip(labels, np.asarray(targets).sum(axis=0).tolist(), strict=True)):
        named = sure & (outputs[..., LABEL] == k)
        area = float(average_precision(outputs, targets, k, alike)[0, 0]) if true else None
        right = int((named * outputs[..., HITS]).sum())
        found.append(class_of_counts(label, right, int(named.sum()), true, average_precision=area))
    return tuple(found)


def _area(hit: Floats, marked: Floats, true: Floats) -> Floats:
    """The mean highest precision over the levels of recall, of counts so far (resamples, boxes) and true boxes (resamples,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if not hit.shape[1]:
            return np.where(true > 0, 0.0, np.nan)
        precision = np.where(marked > 0, hit / marked, 0.0)
        highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hit / true[:, None]
        # How many levels are reached with each box; the level 0 is reached with the first.
        reached = np.floor(recall * LEVELS + 1e-9) + 1
        gained = np.diff(reached, axis=1, prepend=0.0)
        return np.where(true > 0, (highest * gained).sum(axis=1) / (LEVELS + 1), np.nan)


def _mean(outputs: NDArray[Any], targets: NDArray[Any], thresholds: range) -> Statistic:
    def mean(weights: Floats) -> Floats:
        total, count = np.zeros(len(weights)), np.zeros(len(weights))
        for label in np.flatnonzero(np.asarray(targets).sum(axis=0)).tolist():
            values = average_precision(outputs, targets, label, weights)[:, list(thresholds)].mean(axis=1)
            defined = np.isfinite(values)
            total[defined] += values[defined]
            count += defined
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / count)

    return mean

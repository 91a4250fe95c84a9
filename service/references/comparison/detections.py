"""Answers that are objects with boxes, compared as sets: a detector that chooses its queries by score may give two nearly equal
ones in another order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.golden.golden_case import DetectionExpectation, ExpectedObject
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.references.comparison.vectors import IMAGE_BOUND
from service.tasks.image.object_detection import DEFAULT_THRESHOLD
from service.types import Detections, Options

Objects = NDArray[np.float64]
"""`[n, 6]`: class, score, and the corners of the box as shares of the image."""

LIKELY_SCORE = 0.1
"""Objects with at least this score are compared, and the best ones in any case."""
BEST = 3
MARGIN = 0.05
"""Of a score: so far beyond the threshold, an object must be found, and so far below it, none counts."""
MOST_EXPECTED = 10
"""Objects that a golden case names."""
SHARE_OF_SIDE = 0.05
"""Tolerance of a golden case for each edge of a box, as a share of the longer side of the image."""


def detections() -> AnswerComparison:
    """Objects with boxes: the greatest difference of a score, or of an edge as a share of the image."""
    return AnswerComparison(IMAGE_BOUND, _difference, _expectation)


def _all(compared: ComparedAnswers) -> Detections:
    """All that the network takes for an object, however unlikely."""
    answer = compared.task.postprocess(compared.row, compared.item, Options(threshold=0.0))
    assert isinstance(answer, Detections)
    return answer


def _difference(compared: ComparedAnswers) -> float:
    if not all(np.isfinite(array).all() for array in compared.row.values()):
        raise Unlike("its network gives numbers that are not finite")
    mine = _all(compared)
    other = np.asarray(compared.answer, np.float64).reshape(-1, 6)
    if not other.size or not mine.objects:
        raise Unlike(f"it gives {len(other):,} boxes, and Zoo {len(mine.objects):,}")
    size = np.array([mine.width, mine.height, mine.width, mine.height])
    rows = [(o.index, o.score, o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax) for o in mine.objects]
    mine_array = np.array(rows, np.float64)
    mine_array[:, 2:] /= size
    other = np.concatenate([other[:, :2], other[:, 2:] / size], axis=1)
    return max(farthest(_counted(other), mine_array), farthest(_counted(mine_array), other))


def farthest(wanted: Objects, found: Objects) -> float:
    """The greatest distance of a wanted object to the nearest found one of its class; 1 where there is none of its class."""
    distances = np.abs(wanted[:, None, 1:] - found[None, :, 1:]).max(axis=2)
    distances[wanted[:, None, 0] != found[None, :, 0]] = 1.0
    return float(distances.min(axis=1).max(initial=0.0))


def _counted(objects: Objects) -> Objects:
    ordered = objects[np.argsort(-objects[:, 1], kind="stable")]
    return ordered[: max(BEST, int((objects[:, 1] >= LIKELY_SCORE).sum()))]


def _expectation(compared: ComparedAnswers) -> DetectionExpectation:
    every = _all(compared)
    sure = [found for found in every.objects if found.score >= DEFAULT_THRESHOLD + MARGIN]
    return DetectionExpectation(
        objects=tuple(
            ExpectedObject(
                label=found.name,
                min_score=round(found.score - MARGIN, 4),
                box=(
                    round(found.box.xmin, 1),
                    round(found.box.ymin, 1),
                    round(found.box.xmax, 1),
                    round(found.box.ymax, 1),
                ),
            )
            for found in sure[:MOST_EXPECTED]
        ),
        tolerance_pixels=SHARE_OF_SIDE * max(every.width, every.height),
        at_most=sum(found.score >= DEFAULT_THRESHOLD - MARGIN for found in every.objects),
    )

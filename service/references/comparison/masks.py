"""Answers that are masks: the share of pixels whose classes differ."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from model_zoo.golden.golden_case import SegmentationExpectation
from service.references.comparison.compared import AnswerComparison, ComparedAnswers, Unlike
from service.types import Options, Segmentation

BOUND = 0.02
"""Images are decoded and resized by other code, which moves the borders of classes a little."""
LARGE_SHARE = 0.02
"""Classes that cover this share of an image are in its golden case, and the largest in any case."""
MOST_EXPECTED = 10
TOLERANCE = 0.05
"""Of a share, in a golden case."""


def masks() -> AnswerComparison:
    """The share of pixels with another class."""
    return AnswerComparison(BOUND, _difference, _expectation)


def _mine(compared: ComparedAnswers) -> Segmentation:
    answer = compared.task.postprocess(compared.row, compared.item, Options())
    assert isinstance(answer, Segmentation)
    return answer


def _difference(compared: ComparedAnswers) -> float:
    if not all(np.isfinite(array).all() for array in compared.row.values()):
        raise Unlike("its network gives numbers that are not finite")
    mine = np.asarray(Image.open(io.BytesIO(_mine(compared).mask))).ravel()
    runs = np.asarray(compared.answer, np.int64).reshape(-1, 2)
    other = np.repeat(runs[:, 0], runs[:, 1])
    if other.shape != mine.shape:
        raise Unlike(f"it gives classes of {other.size:,} pixels, and Zoo of {mine.size:,}")
    return float((mine != other).mean())


def _expectation(compared: ComparedAnswers) -> SegmentationExpectation:
    shares: dict[str, float] = {}
    for one in _mine(compared).classes:
        shares[one.name] = shares.get(one.name, 0.0) + one.share
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    kept = [(name, share) for name, share in ordered if share >= LARGE_SHARE] or ordered[:1]
    return SegmentationExpectation(
        shares={name: round(share, 4) for name, share in kept[:MOST_EXPECTED]}, tolerance=TOLERANCE
    )

"""The comparison of each task."""

from __future__ import annotations

from collections.abc import Mapping

from service.references.comparison.compared import AnswerComparison
from service.references.comparison.detections import detections
from service.references.comparison.vectors import IMAGE_BOUND, TEXT_BOUND, classes, embeddings
from service.references.comparison.writing import writing

COMPARISONS: Mapping[str, AnswerComparison] = {
    "audio-classification": classes(TEXT_BOUND),
    "feature-extraction": embeddings(TEXT_BOUND),
    "image-classification": classes(IMAGE_BOUND),
    "image-feature-extraction": embeddings(IMAGE_BOUND),
    "object-detection": detections(),
    "text-classification": classes(TEXT_BOUND),
    "text-generation": writing(TEXT_BOUND),
    "text2text-generation": writing(TEXT_BOUND),
}
"""By the card's task: every task that can be pulled."""

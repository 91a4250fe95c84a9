"""The comparison of each task."""

from __future__ import annotations

from collections.abc import Mapping

from service.references.comparison.candidates import CANDIDATES
from service.references.comparison.compared import AnswerComparison
from service.references.comparison.spans import SPANS
from service.references.comparison.vectors import IMAGE_BOUND, TEXT_BOUND, classes, embeddings

COMPARISONS: Mapping[str, AnswerComparison] = {
    "feature-extraction": embeddings(TEXT_BOUND),
    "fill-mask": CANDIDATES,
    "image-classification": classes(IMAGE_BOUND),
    "image-feature-extraction": embeddings(IMAGE_BOUND),
    "text-classification": classes(TEXT_BOUND),
    "token-classification": SPANS,
}
"""By the card's task: every task that can be pulled."""

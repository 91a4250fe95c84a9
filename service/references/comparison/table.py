"""The comparison of each task."""

from __future__ import annotations

from collections.abc import Mapping

from service.references.comparison.candidates import CANDIDATES
from service.references.comparison.compared import AnswerComparison
from service.references.comparison.detections import detections
from service.references.comparison.labelled_images import LABELLED_IMAGES
from service.references.comparison.masks import masks
from service.references.comparison.relevance import RELEVANCE
from service.references.comparison.spans import SPANS
from service.references.comparison.transcripts import transcripts
from service.references.comparison.vectors import IMAGE_BOUND, TEXT_BOUND, classes, embeddings
from service.references.comparison.writing import writing

COMPARISONS: Mapping[str, AnswerComparison] = {
    "audio-classification": classes(TEXT_BOUND),
    "automatic-speech-recognition": transcripts(TEXT_BOUND),
    "feature-extraction": embeddings(TEXT_BOUND),
    "fill-mask": CANDIDATES,
    "image-classification": classes(IMAGE_BOUND),
    "image-feature-extraction": embeddings(IMAGE_BOUND),
    "image-segmentation": masks(),
    "object-detection": detections(),
    "text-classification": classes(TEXT_BOUND),
    "text-ranking": RELEVANCE,
    "token-classification": SPANS,
    "zero-shot-classification": classes(TEXT_BOUND),
    "zero-shot-image-classification": LABELLED_IMAGES,
    "text-generation": writing(TEXT_BOUND),
    "text2text-generation": writing(TEXT_BOUND),
}
"""By the card's task: every task that can be pulled."""

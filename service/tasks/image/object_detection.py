"""Answers of object detection: logits and boxes of a detector → the objects in the image, by the card's BoxRule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.box_rule import BoxRule
from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import DetectionExpectation, Expectation, ExpectedObject
from service.tasks.image.box_suppression import unsuppressed
from service.types import Answer, Box, DetectedObject, Detections, Item, Options, Tensors

DEFAULT_THRESHOLD = 0.5
"""As the pipeline of transformers has it."""

Candidates = tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]
"""Scores, classes and queries, `[n]` each."""


class DetectionAnswers:
    """Objects, best first (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k", "threshold"})
    light_rows: ClassVar[int] = 0  # 300 queries of 80 classes take half a millisecond

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        if card.boxes is None:
            raise TypeError(f"card {card.name} does not say how its boxes are scored")
        self._labels, self._rule = tuple(labels), card.boxes
        self._logits, self._boxes = (spec.name for spec in card.signature.outputs[:2])

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Detections:
        """`[queries, classes]` logits and `[queries, 4]` boxes → objects whose score exceeds the threshold."""
        assert item.image_size is not None
        width, height = item.image_size
        scores, classes, queries = candidates(np.asarray(row[self._logits], np.float64), self._rule)
        threshold = DEFAULT_THRESHOLD if options.threshold is None else options.threshold
        best = np.argsort(-scores, kind="stable")
        best = best[scores[best] > threshold]
        found, corners = separate(
            classes[best], corners_of(np.asarray(row[self._boxes], np.float64)[queries[best]]), self._rule
        )
        found = found[: options.top_k]
        pixels = (corners[found] * (width, height, width, height)).tolist()
        kept = best[found]
        return Detections(
            tuple(
                DetectedObject(index, self._name(index), score, Box(*edges))
                for index, score, edges in zip(classes[kept].tolist(), scores[kept].tolist(), pixels, strict=True)
            ),
            width,
            height,
        )

    def _name(self, index: int) -> str:
        return self._labels[index] if index < len(self._labels) else str(index)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """An object that is missing or elsewhere, or too many objects."""
        assert isinstance(expect, DetectionExpectation)
        assert isinstance(answer, Detections)
        if len(answer.objects) > expect.at_most:
            return f"expected at most {expect.at_most} objects, got {len(answer.objects)}"
        for wanted in expect.objects:
            if not any(_is(found, wanted, expect.tolerance_pixels) for found in answer.objects):
                corners = ", ".join(f"{edge:.0f}" for edge in wanted.box)
                return f"expected {wanted.label!r} with at least {wanted.min_score:g} at ({corners}), got none"
        return None


def candidates(logits: NDArray[np.float64], rule: BoxRule) -> Candidates:
    """`[queries, classes]` logits → the pairs of query and class that may be objects, with their scores."""
    queries, classes = logits.shape
    if rule.scores == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers[:, :-1] / powers.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return scores[np.arange(queries), best], best, np.arange(queries)
    count = min(rule.candidates or queries, logits.size)
    flat = logits.ravel()
    pairs = np.argpartition(-flat, count - 1)[:count]
    with np.errstate(over="ignore"):  # the exponential of a very small logit; its score is 0
        return 1.0 / (1.0 + np.exp(-flat[pairs])), pairs % classes, pairs // classes


def corners_of(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[n, 4]` of (centre x, centre y, width, height) → `[n, 4]` of (xmin, ymin, xmax, ymax)."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def separate(
    classes: NDArray[np.intp], corners: NDArray[np.float64], rule: BoxRule
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The positions of the candidates that are objects, of candidates `[n]` with boxes `[n, 4]`, best first; and all boxes,
    clipped where the rule says so."""
    if rule.clip:
        corners = corners.clip(0.0, 1.0)
    most = len(classes) if rule.max_objects is None else rule.max_objects
    if rule.max_overlap is None:
        return np.arange(min(most, len(classes))), corners
    return unsuppressed(corners, classes, rule.max_overlap, most), corners


def _is(found: DetectedObject, wanted: ExpectedObject, tolerance: float) -> bool:
    edges = (found.box.xmin, found.box.ymin, found.box.xmax, found.box.ymax)
    near = all(abs(a - b) <= tolerance for a, b in zip(edges, wanted.box, strict=True))
    return near and found.name == wanted.label and found.score >= wanted.min_score

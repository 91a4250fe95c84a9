"""Answers of keypoint detection: places in the input of the network → points in pixels of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe
from model_zoo.golden.golden_case import Expectation, KeypointsExpectation
from service.tasks.image.image_input import seen_area
from service.types import Answer, Item, Keypoint, Keypoints, Options, Tensors

DEFAULT_THRESHOLD = 0.3
"""In images without a person the scores of MoveNet are lower."""


class KeypointAnswers:
    """Points in the order of the network (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset({"threshold"})
    light_rows: ClassVar[int] = 1  # 17 points take some 20 µs

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        if not isinstance(card.recipe, ImageRecipe):
            raise TypeError(f"card {card.name} has no image recipe")
        self._labels, self._recipe = tuple(labels), card.recipe
        self._output = card.signature.outputs[0].name

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Keypoints:
        """`[points, 3]` of x, y (shares of the input) and score → the points whose score reaches the threshold."""
        assert item.image_size is not None
        width, height = item.image_size
        left, top, right, bottom = seen_area(item.image_size, self._recipe)
        threshold = DEFAULT_THRESHOLD if options.threshold is None else options.threshold
        found = np.asarray(row[self._output], np.float64)
        places = found[:, :2] * (right - left, bottom - top) + (left, top)
        return Keypoints(
            tuple(
                Keypoint(index, self._name(index), x, y, score)
                for index, ((x, y), score) in enumerate(zip(places.tolist(), found[:, 2].tolist(), strict=True))
                if score >= threshold
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
        """A point that is missing or elsewhere, or too many points."""
        assert isinstance(expect, KeypointsExpectation)
        assert isinstance(answer, Keypoints)
        if len(answer.points) > expect.at_most:
            return f"expected at most {expect.at_most} points, got {len(answer.points)}"
        found = {point.name: point for point in answer.points}
        for wanted in expect.keypoints:
            point, place = found.get(wanted.name), f"({wanted.x:.0f}, {wanted.y:.0f})"
            if point is None:
                return f"expected {wanted.name!r} at {place}, got none"
            if not max(abs(point.x - wanted.x), abs(point.y - wanted.y)) <= expect.tolerance_pixels:
                return f"expected {wanted.name!r} at {place}, got it at ({point.x:.0f}, {point.y:.0f})"
        return None

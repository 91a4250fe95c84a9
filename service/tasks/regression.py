"""Answers of regression tasks: a number, and how far off it usually is.

The network's output `value` `[1]` is in the units in which it learned; the card's TargetScale converts it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.tuned_parts import TargetScale
from model_zoo.golden.golden_case import Expectation, NumberExpectation
from service.rounding import format_against
from service.types import Answer, Array, Item, Options, Regression, Tensors


class NumberAnswers:
    """A number (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset()
    light_rows: ClassVar[int] = 64

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._output = card.signature.outputs[0].name
        self._target = card.target

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Regression:
        """`[1]` → the number in the data's units, between the ends of the interval that held 80 % of the held-out targets."""
        return to_regression(row[self._output], self._target)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A number that is too far off."""
        assert isinstance(expect, NumberExpectation)
        assert isinstance(answer, Regression)
        off = abs(answer.value - expect.number)
        if off <= expect.tolerance:
            return None
        shown, allowed = format_against(off, expect.tolerance)
        return f"expected {expect.number:g}, got {answer.value:g}: off by {shown}, allowed is {allowed}"


def to_regression(value: Array, target: TargetScale | None) -> Regression:
    """The single element of `value` in the units of the data, and the interval that held 80 % of the held-out targets."""
    output = float(np.asarray(value, np.float64).ravel()[0])
    if target is None:
        return Regression(output)
    number = output * target.std + target.mean
    lower = None if target.lower is None else number + target.lower
    upper = None if target.upper is None else number + target.upper
    return Regression(number, lower, upper)

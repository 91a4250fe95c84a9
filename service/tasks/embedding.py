"""Answers of feature extraction tasks: a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import EmbeddingExpectation, Expectation
from service.rounding import format_against
from service.types import Answer, Embedding, Item, Options, Tensors


class EmbeddingAnswers:
    """A vector (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset()
    light_rows: ClassVar[int] = 64

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._output = card.signature.outputs[0].name

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Embedding:
        """The vector as the network returns it; pooling and normalisation belong to the network."""
        return Embedding(row[self._output].astype(np.float32, copy=False))

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """The texts whose similarity is bounded."""
        assert isinstance(expect, EmbeddingExpectation)
        return [pair.text for pair in expect.pairs]

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A first value that is off by more than the tolerance, or a similarity out of its bounds."""
        assert isinstance(expect, EmbeddingExpectation)
        assert isinstance(answer, Embedding)
        error = float(np.abs(answer.values[: len(expect.values)] - np.asarray(expect.values)).max())
        if not error <= expect.tolerance:
            got, allowed = format_against(error, expect.tolerance)
            return f"the embedding is off by {got}, allowed is {allowed}"
        for pair in expect.pairs:
            other = answer_of[pair.text]
            assert isinstance(other, Embedding)
            cosine = float(answer.values @ other.values)
            if not pair.at_least <= cosine <= pair.at_most:
                missed = pair.at_least if cosine < pair.at_least else pair.at_most
                got, _ = format_against(cosine, missed, ".3f", "g")
                return f"likeness to {pair.text!r} is {got}, expected {pair.at_least:g}..{pair.at_most:g}"
        return None

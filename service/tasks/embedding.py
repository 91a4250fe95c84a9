"""The answer of every feature extraction: a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_zoo.golden.golden_case import (
    EmbeddingExpectation,
    Expectation,
)
from service.rounding import (
    format_against,
)
from service.tasks.base import Task
from service.types import Answer, Embedding, Item, Options, Tensors


class Embeds(Task):
    """Gives a vector."""

    light_rows: ClassVar[int] = 64

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """The vector as it is; pooling and normalising belong to the network."""
        return Embedding(row[self.card.signature.outputs[0].name].astype(np.float32, copy=False))

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """The texts whose likeness is bounded."""
        assert isinstance(expect, EmbeddingExpectation)
        return [pair.text for pair in expect.pairs]

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A first value off by more than the tolerance, or a likeness out of its bounds."""
        assert isinstance(expect, EmbeddingExpectation)
        assert isinstance(answer, Embedding)
        error = float(np.abs(answer.values[: len(expect.values)] - np.asarray(expect.values)).max())
        if not error <= expect.tolerance:
            came, allowed = format_against(error, expect.tolerance)
            return f"the embedding is off by {came}, allowed is {allowed}"
        for pair in expect.pairs:
            other = answer_of[pair.text]
            assert isinstance(other, Embedding)
            cosine = float(answer.values @ other.values)
            if not pair.at_least <= cosine <= pair.at_most:
                missed = pair.at_least if cosine < pair.at_least else pair.at_most
                came, _ = format_against(cosine, missed, ".3f", "g")
                return f"likeness to {pair.text!r} is {came}, expected {pair.at_least:g}..{pair.at_most:g}"
        return None

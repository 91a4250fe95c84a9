"""Task `text-ranking`: a query and documents → the documents by relevance.

The network reads each document together with the query (a cross-encoder, Nogueira and Cho 2019, arXiv:1901.04085).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation, ScoreExpectation
from service.errors import InvalidInput
from service.rounding import format_against
from service.tasks.text.pairs import longest_text_checked
from service.types import (
    Answer,
    Instance,
    Item,
    Options,
    RankedDocument,
    Ranking,
    RankingInstance,
    Tensors,
    TextInstance,
    TextPairInstance,
)

MOST_DOCUMENTS = 1000
"""Of one query."""


class RankingAnswers:
    """Scores of documents, best first (the protocols `AnswerCodec` and `SeveralRows`)."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k"})
    light_rows: ClassVar[int] = 64

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._output = card.signature.outputs[0].name

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | None:
        """A row for each document; None for a query with one document as a pair, or tensors."""
        if isinstance(instance, TextInstance):
            raise InvalidInput(path, "expected a ranking, or a text_pair of query and document, got text alone")
        if not isinstance(instance, RankingInstance):
            return None
        if not 1 <= len(instance.documents) <= MOST_DOCUMENTS:
            came = len(instance.documents)
            raise InvalidInput(f"{path}.ranking.documents", f"expected 1 to {MOST_DOCUMENTS:,} documents, got {came:,}")
        longest_text_checked(instance.query, f"{path}.ranking.query")
        query, rows = f"{path}.ranking.query", []
        for i, document in enumerate(instance.documents):
            place = f"{path}.ranking.documents[{i}]"
            longest_text_checked(document, place)
            rows.append(TextPairInstance(instance.query, document, (query, place)))
        return rows

    def join(self, rows: Tensors, options: Options) -> Ranking:
        """`[documents, 1]` scores → documents, best first; of equal scores the earlier one."""
        scores = np.asarray(rows[self._output], np.float64).ravel()
        order = np.argsort(-scores, kind="stable")[: options.top_k]
        return Ranking(tuple(RankedDocument(i, float(scores[i])) for i in order.tolist()))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Ranking:
        """The score of one document."""
        return self.join({self._output: row[self._output][None]}, options)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A score that is off by more than the tolerance."""
        assert isinstance(expect, ScoreExpectation)
        assert isinstance(answer, Ranking)
        error = abs(answer.documents[0].score - expect.score)
        if error <= expect.tolerance:
            return None
        got, allowed = format_against(error, expect.tolerance)
        return f"the score is off by {got}, allowed is {allowed}"

"""Task `token-classification`: a text → labelled spans of it, such as names of people and places.

Spans are made of tokens as the pipeline of transformers does with `aggregation_strategy="simple"`: each token has its likeliest
label; a token continues the span before it if it has the same label, not counting the prefixes `B-` and `I-`, and does not begin
one (`B-`). Spans of the label `O` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import EntitiesExpectation, Expectation
from service.tasks.text.token_input import TokenInput
from service.types import Answer, Entities, Entity, Item, Options, Tensors

OUTSIDE = "O"
"""The label of tokens that belong to no span."""


@dataclass(frozen=True, slots=True)
class SpannedItem(Item):
    """An item with the places of its tokens in the text."""

    text: str = ""
    spans: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    """`(tokens, 2)`: of each token its first character and the one after its last; empty for a token that the tokenizer added."""
    added: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """`(tokens)`: whether the token is none of the text's own, but one for its beginning, say, or of the prefix before it."""


class SpannedTokenInput(TokenInput):
    """Accepts texts, and keeps where each token came from."""

    offsets: ClassVar[bool] = True

    def _item(self, encoding: Encoding, texts: Sequence[str], path: str) -> Item:
        item = super()._item(encoding, texts, path)
        before = len(self._recipe.prefix)  # the tokenizer has read the prefix and the text as one
        places = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        added = np.array(encoding.special_tokens_mask, np.bool_) | ((places[:, 1] > 0) & (places[:, 1] <= before))
        spans = np.maximum(places - np.int32(before), 0)
        return SpannedItem(item.tensors, item.length, item.notes, text=texts[0], spans=spans, added=added)


class EntityAnswers:
    """Spans, in order of the text (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset({"threshold"})
    light_rows: ClassVar[int] = 0

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._output = card.signature.outputs[0].name

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Entities:
        """`[tokens, classes]` logits → spans."""
        assert isinstance(item, SpannedItem)
        least = options.threshold or 0.0
        return Entities(tuple(one for one in self._entities(row, item) if not one.score < least))

    def _entities(self, row: Tensors, item: SpannedItem) -> Iterator[Entity]:
        best, scores = likeliest(row[self._output])
        group: list[int] = []
        for token in np.flatnonzero(~item.added).tolist():
            begins, label = split_label(self._labels[best[token]])
            if group and (begins or label != split_label(self._labels[best[group[-1]]])[1]):
                yield from self._entity(group, best, scores, item)
                group = []
            group.append(token)
        if group:
            yield from self._entity(group, best, scores, item)

    def _entity(
        self, group: Sequence[int], best: NDArray[np.int64], scores: NDArray[np.float64], item: SpannedItem
    ) -> Iterator[Entity]:
        name = self._labels[best[group[0]]]
        label = name.split("-", 1)[-1]
        if label != OUTSIDE:
            start, end = int(item.spans[group[0], 0]), int(item.spans[group[-1], 1])
            yield Entity(label, float(scores[group].mean()), start, end, item.text[start:end])

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A span that is missing: no span of its label overlaps it."""
        assert isinstance(expect, EntitiesExpectation)
        assert isinstance(answer, Entities)
        for wanted in expect.entities:
            if not any(
                one.label == wanted.label and one.start < wanted.end and wanted.start < one.end
                for one in answer.entities
            ):
                found = ", ".join(f"{one.label} at {one.start}..{one.end}" for one in answer.entities[:8]) or "no span"
                return f"expected {wanted.label} at {wanted.start}..{wanted.end}, got {found}"
        return None


def likeliest(logits: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`[tokens, classes]` logits → the likeliest class of each token, and its probability by softmax."""
    x = np.asarray(logits, np.float64)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    best = x.argmax(axis=-1)
    return best, np.take_along_axis(powers, best[:, None], -1)[:, 0] / powers.sum(axis=-1)


def split_label(name: str) -> tuple[bool, str]:
    """Whether a class begins a span, and its label without the prefix."""
    return (name[:2] == "B-", name[2:]) if name[:2] in ("B-", "I-") else (False, name)

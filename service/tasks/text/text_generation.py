"""Task `text-generation` by characters: a text → how it goes on.

One pass through the network gives the logits of the next character; a text of n characters takes n passes. Each is a row in the
model's queue like any other, so what several callers have written is batched together, and deadlines, priorities and departed
callers are looked at between any two characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import ContinuationExpectation, Expectation
from service.errors import ZooError
from service.tasks.base import NO_FILES
from service.tasks.masked_sequence import decode_text, read_each
from service.tasks.text.character_input import CharacterInput
from service.types import Answer, GeneratedText, Instance, Item, Options, Tensors


@dataclass(slots=True)
class Writing:
    """What one call has written so far. Belongs to that call alone."""

    ids: list[int] = field(default_factory=list)
    ended: bool = False
    random: np.random.Generator | None = None


@dataclass(frozen=True, slots=True)
class Draft(Item):
    """An item that remembers what was written."""

    writing: Writing = field(default_factory=Writing)


class TextGeneration(CharacterInput):
    """Writes on, character by character."""

    options: ClassVar[frozenset[str]] = frozenset({"max_new_tokens", "temperature", "seed"})
    light_rows: ClassVar[int] = 64

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        self._writable = self.alphabet.writable(self.ids or 0)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """The ends of texts, as much as the network looks back on, behind zeros where they are shorter: int64 `[window]`."""
        return read_each(self._ending, instances, paths)

    def _ending(self, instance: Instance, path: str) -> Item:
        text = decode_text(self, instance, path, empty=True)
        window = self.recipe.window
        ids = self.alphabet.encode(text[-self.recipe.max_characters :])
        notes = {"truncated": True, "characters": len(text)} if len(ids) > window else {}
        if self.alphabet.border is not None:
            ids = np.concatenate([[self.alphabet.border], ids])
        item = self.item(_last(ids, window, self.recipe.pad_id))
        return Draft(item.tensors, item.length, notes, writing=Writing())

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Writes one character down; the next pass sees it as the last of its window."""
        if not isinstance(item, Draft):
            return None
        writing = item.writing
        if writing.random is None:
            writing.random = np.random.default_rng(options.seed)
        temperature = self.recipe.temperature if options.temperature is None else options.temperature
        chosen = self._choose(row, temperature, writing.random)
        if chosen == self.alphabet.border:
            writing.ended = True
            return None
        writing.ids.append(chosen)
        if len(writing.ids) >= (options.max_new_tokens or self.recipe.max_new_tokens):
            return None
        seen = np.append(item.tensors[self.sequence][1:], chosen)
        return replace(item, tensors={**item.tensors, self.sequence: seen})

    def _choose(self, row: Tensors, temperature: float, random: np.random.Generator) -> int:
        logits = np.asarray(row[self.card.signature.outputs[0].name], np.float64)
        logits = np.where(self._writable, logits, -np.inf)
        if not np.isfinite(logits.max()):
            raise ValueError(f"model {self.card.name} gave logits that are not finite")
        if temperature == 0.0:
            return int(logits.argmax())
        with np.errstate(over="ignore"):  # a temperature near 0: the likeliest, by its distance to the rest
            shares = np.exp((logits - logits.max()) / temperature)
        return int(random.choice(len(shares), p=shares / shares.sum()))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """What was written; of a row that nobody went on from, the likeliest character."""
        assert isinstance(item, Draft)
        writing = item.writing
        if writing.random is None:
            chosen = self._choose(row, 0.0, np.random.default_rng(0))
            writing = Writing([] if chosen == self.alphabet.border else [chosen], chosen == self.alphabet.border)
        reason = "stop" if writing.ended else "length"
        return GeneratedText(self.alphabet.decode(writing.ids), len(writing.ids), reason)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another character than the likeliest one."""
        assert isinstance(expect, ContinuationExpectation)
        assert isinstance(answer, GeneratedText)
        return None if answer.text == expect.next else f"expected {expect.next!r} to follow, got {answer.text!r}"


def _last(ids: NDArray[np.int64], window: int, fill: int) -> NDArray[np.int64]:
    seen = np.full(window, fill, np.int64)
    kept = ids[-window:]
    seen[window - len(kept) :] = kept
    return seen

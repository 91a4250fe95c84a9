"""Task `text-generation` by characters: a text → its continuation.

One pass through the network gives the logits of the next character; a text of n characters takes n passes. Each pass is a row in
the model's queue like any other: passes of several callers share batches, and the scheduler checks deadlines, priorities and
cancelled callers between any two characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import CharacterRecipe
from model_zoo.golden.golden_case import ContinuationExpectation, Expectation, GoldenInput
from service.errors import ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import decode_text, golden_text, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.text.character_input import Alphabet
from service.types import Answer, Array, GeneratedText, Instance, Item, Options, TensorInstance, Tensors, TextInstance


@dataclass(slots=True)
class GenerationState:
    """The text that one call has generated so far. It belongs to that call alone."""

    ids: list[int] = field(default_factory=list)
    ended: bool = False
    random: np.random.Generator | None = None


@dataclass(frozen=True, slots=True)
class GenerationItem(Item):
    """An item with the state of its generation."""

    state: GenerationState = field(default_factory=GenerationState)


class TextGeneration(Task):
    """Continues a text, character by character."""

    options = frozenset({"max_new_tokens", "temperature", "seed"})
    light_rows = 64
    raw_types = (TextInstance,)
    chunk = 32

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, CharacterRecipe):
            raise TypeError(f"card {card.name} has no character recipe")
        self.recipe = card.recipe
        self.alphabet = Alphabet(files[card.recipe.alphabet], card.recipe)
        symbols = int(card.architecture.arguments["symbols"])
        self._sequence = MaskedSequence(card, card.recipe.pad_id, symbols)
        self._writable = self.alphabet.writable(symbols)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """The ends of texts, as much as the network's window holds, after zeros for shorter texts: int64 `[window]`."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        text = decode_text(self.card, instance, path, empty=True)
        window = self.recipe.window
        ids = self.alphabet.encode(text[-self.recipe.max_characters :])
        notes = {"truncated": True, "characters": len(text)} if len(ids) > window else {}
        if self.alphabet.border is not None:
            ids = np.concatenate([[self.alphabet.border], ids])
        item = self._sequence.item(_last(ids, window, self.recipe.pad_id))
        return GenerationItem(item.tensors, item.length, notes, state=GenerationState())

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task and those of a masked sequence."""
        item = super().row(instance, path)
        self._sequence.check(instance, path)
        return item

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest]`, padded under a mask of zeros; at least `least_length` long."""
        return self._sequence.collate(items, least_length)

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Adds one character to the state; it is the last of the window of the next pass."""
        if not isinstance(item, GenerationItem):
            return None
        state = item.state
        if state.random is None:
            state.random = np.random.default_rng(options.seed)
        temperature = self.recipe.temperature if options.temperature is None else options.temperature
        chosen = self._choose(row, temperature, state.random)
        if chosen == self.alphabet.border:
            state.ended = True
            return None
        state.ids.append(chosen)
        if len(state.ids) >= (options.max_new_tokens or self.recipe.max_new_tokens):
            return None
        window = np.append(item.tensors[self._sequence.name][1:], chosen)
        return replace(item, tensors={**item.tensors, self._sequence.name: window})

    def _choose(self, row: Tensors, temperature: float, random: np.random.Generator) -> int:
        logits = np.asarray(row[self.card.signature.outputs[0].name], np.float64)
        logits = np.where(self._writable, logits, -np.inf)
        if not np.isfinite(logits.max()):
            raise ValueError(f"model {self.card.name} gave logits that are not finite")
        if temperature == 0.0:
            return int(logits.argmax())
        with np.errstate(over="ignore"):  # at a temperature near 0 the likeliest has nearly all
            shares = np.exp((logits - logits.max()) / temperature)
        return int(random.choice(len(shares), p=shares / shares.sum()))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> GeneratedText:
        """The generated text; for a row without a further pass, the likeliest character."""
        assert isinstance(item, GenerationItem)
        state = item.state
        if state.random is None:
            chosen = self._choose(row, 0.0, np.random.default_rng(0))
            state = GenerationState([] if chosen == self.alphabet.border else [chosen], chosen == self.alphabet.border)
        reason = "stop" if state.ended else "length"
        return GeneratedText(self.alphabet.decode(state.ids), len(state.ids), reason)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        return golden_text(given)

    def golden_options(self) -> Options:
        """One character, the likeliest."""
        return Options(max_new_tokens=1, temperature=0.0)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another character than the expected one."""
        assert isinstance(expect, ContinuationExpectation)
        assert isinstance(answer, GeneratedText)
        return None if answer.text == expect.next else f"expected {expect.next!r} to follow, got {answer.text!r}"


def _last(ids: NDArray[np.int64], window: int, fill: int) -> NDArray[np.int64]:
    padded = np.full(window, fill, np.int64)
    last = ids[-window:]
    padded[window - len(last) :] = last
    return padded

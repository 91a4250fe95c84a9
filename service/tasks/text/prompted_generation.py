"""Tasks `text-generation` and `text2text-generation` by tokens: a text → its continuation, or another text.

The network writes a whole answer in one run: it loops over the tokens of all rows of a batch, each row up to its own limit, and
takes the likeliest token each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import PromptRecipe
from model_zoo.cards.signature import NO_TOKEN
from model_zoo.golden.golden_case import Expectation, GoldenInput, WrittenExpectation
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import decode_text, golden_text, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.text.shared_tokenizer import shared_tokenizer
from service.types import Answer, Array, GeneratedText, Instance, Item, Options, TensorInstance, Tensors, TextInstance

CHECKED_TOKENS = 8
"""Length of the answers by which a network is checked at pull and at load."""

LIMIT = "max_new_tokens"
"""The input tensor, `[1]`, that bounds the answer of a row."""


class PromptedGeneration(Task):
    """Writes texts with a language model."""

    options = frozenset({LIMIT, "temperature"})
    light_rows = 1
    raw_types = (TextInstance,)
    chunk = 8

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, PromptRecipe):
            raise TypeError(f"card {card.name} has no prompt recipe")
        self.recipe = recipe = card.recipe
        self._sequence = MaskedSequence(
            card, recipe.pad_id, int(card.architecture.arguments["config"]["vocab_size"]), left=recipe.continues
        )
        self._shared = shared_tokenizer(
            files[recipe.tokenizer], recipe.max_tokens, "left" if recipe.continues else "right"
        )
        self._checked = min(CHECKED_TOKENS, recipe.most_new_tokens)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids`, `attention_mask`, int64 `[tokens]`, and the limit of checks; `with_options` sets a call's."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        text, most = decode_text(self.card, instance, path), self.recipe.max_characters
        read = text[-most:] if self.recipe.continues else text[:most]
        encoding = self._shared.tokenizer.encode(read)
        if not encoding.ids:
            raise InvalidInput(path, "has no token that the model knows")
        cut = bool(encoding.overflowing) or len(text) > most
        notes = {"truncated": True, "tokens": len(encoding.ids), "characters": len(text)} if cut else {}
        return self._limited(self._sequence.item(np.array(encoding.ids, np.int64), notes), self._checked)

    def with_options(self, item: Item, options: Options) -> Item:
        """The item with the limit of its call."""
        return self._limited(item, options.max_new_tokens or self.recipe.default_new_tokens)

    @staticmethod
    def _limited(item: Item, limit: int) -> Item:
        return replace(item, tensors={**item.tensors, LIMIT: np.array([limit], np.int64)})

    def check(self, options: Options) -> None:
        """As every task; refuses random choices, and more tokens than the card allows."""
        super().check(options)
        if options.temperature:
            raise InvalidInput(
                "options.temperature",
                f"expected 0, got {options.temperature:g}: this model takes the likeliest token each time",
            )
        most = self.recipe.most_new_tokens
        if options.max_new_tokens is not None and options.max_new_tokens > most:
            raise InvalidInput("options.max_new_tokens", f"expected 1..{most:,}, got {options.max_new_tokens:,}")

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item without the tokens that its mask leaves out, after the checks of every task."""
        item = super().row(instance, path)
        self._sequence.check(instance, path)
        limit, most = int(item.tensors[LIMIT][0]), self.recipe.most_new_tokens
        if not 1 <= limit <= most:
            raise InvalidInput(f"{path}.{LIMIT}", f"expected 1..{most:,}, got {limit:,}")
        ids = item.tensors[self._sequence.name][np.asarray(item.tensors[self._sequence.mask], bool)]
        return self._limited(self._sequence.item(ids), limit)

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest]` under a mask of zeros, padded on the side that the recipe says; `[rows, 1]` limits."""
        batch, share = self._sequence.collate(items, least_length)
        return {**batch, LIMIT: np.stack([item.tensors[LIMIT] for item in items])}, share

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """Cuts each row to the tokens of its own answer."""
        rows = super().split(outputs, items)
        counts = [int((row["output_ids"] != NO_TOKEN).sum()) for row in rows]
        return [{name: array[:count] for name, array in row.items()} for row, count in zip(rows, counts, strict=True)]

    def postprocess(self, row: Tensors, item: Item, options: Options) -> GeneratedText:
        """Ids of tokens `[n]` → the text that was added, and why it ended."""
        ids = np.asarray(row["output_ids"], np.int64).tolist()
        decode = self._shared.tokenizer.decode
        if (
            self.recipe.continues
        ):  # some tokenizers write a token at the beginning of a text without the space before it
            before = np.asarray(item.tensors[self._sequence.name], np.int64).tolist()
            text = decode(before + ids)[len(decode(before)) :]
        else:
            text = decode(ids)
        ended = bool(ids) and ids[-1] in self.recipe.stop_ids
        return GeneratedText(text, len(ids), "stop" if ended else "length")

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        return golden_text(given)

    def golden_options(self) -> Options:
        """An answer as long as those of checks."""
        return Options(max_new_tokens=self._checked)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another text than the expected one."""
        assert isinstance(expect, WrittenExpectation)
        assert isinstance(answer, GeneratedText)
        return None if answer.text == expect.written else f"expected {expect.written!r}, got {answer.text!r}"

    def warmup_item(self) -> Item:
        """A prompt of 8 tokens, and an answer as long as those of checks."""
        ids = np.full(min(8, self.recipe.max_tokens), max(self.recipe.pad_id, 1), np.int64)
        return self._limited(self._sequence.item(ids), self._checked)

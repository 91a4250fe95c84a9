"""Task `feature-extraction`: a text → a vector. Input recipe: TextRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from tokenizers import Tokenizer

from model_zoo.card import Card, EmbeddingExpectation, TextRecipe
from model_zoo.golden import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import Task, pad_stack, reject_kind
from service.types import Answer, Array, Embedding, Instance, Item, Options, TensorInstance, Tensors, TextInstance


class FeatureExtraction(Task):
    """Vectors for texts. Texts of unlike lengths ride together, padded; the mask keeps padding out of the answer."""

    chunk: ClassVar[int] = 32
    light_rows: ClassVar[int] = 64
    raw_types: ClassVar[tuple[type, ...]] = (TextInstance,)

    def __init__(self, card: Card, tokenizer: Path) -> None:
        super().__init__(card)
        if not isinstance(card.recipe, TextRecipe):
            raise TypeError(f"card {card.name} has no text recipe")
        self._recipe = card.recipe
        self._ids, self._mask = (spec.name for spec in card.signature.inputs)
        self._vocabulary = int(card.architecture.arguments["vocab_size"])
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(card.recipe.max_tokens)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[tokens]`, cut off as the recipe says."""
        outcomes: list[Item | ZooError] = []
        texts: list[str] = []
        for instance, path in zip(instances, paths, strict=True):
            try:
                texts.append(self._text(instance, path))
                outcomes.append(_PENDING)
            except InvalidInput as error:
                outcomes.append(error)
        encodings = iter(self._tokenizer.encode_batch_fast([text[: self._recipe.max_characters] for text in texts]))
        lengths = iter(texts)
        for i, outcome in enumerate(outcomes):
            if outcome is _PENDING:
                encoding, text = next(encodings), next(lengths)
                ids = np.array(encoding.ids, np.int64)
                cut = bool(encoding.overflowing) or len(text) > self._recipe.max_characters
                notes = {"truncated": True, "tokens": len(ids), "characters": len(text)} if cut else {}
                outcomes[i] = Item({self._ids: ids, self._mask: np.ones_like(ids)}, len(ids), notes)
        return outcomes

    def _text(self, instance: Instance, path: str) -> str:
        if not isinstance(instance, TextInstance):
            raise reject_kind(self, instance, path)
        try:
            text = instance.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(path, f"expected UTF-8, got a byte that is not at position {error.start}") from None
        if not text.strip():
            raise InvalidInput(path, "is empty; expected a text")
        return text

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Token tensors → item; ids outside the vocabulary would read past the embedding table."""
        item = super().row(instance, path)
        ids, mask = instance.tensors[self._ids], instance.tensors[self._mask]
        if ids.shape != mask.shape:
            raise InvalidInput(
                f"{path}.{self._mask}", f"expected {len(ids)} elements as {self._ids} has, got {len(mask)}"
            )
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self._vocabulary:
            wrong = low if low < 0 else high
            raise InvalidInput(f"{path}.{self._ids}", f"expected token ids in 0..{self._vocabulary - 1}, got {wrong}")
        if not mask.any() or int(mask.min()) < 0 or int(mask.max()) > 1:
            raise InvalidInput(f"{path}.{self._mask}", "expected zeros and ones, with at least one 1")
        return item

    def collate(self, items: Sequence[Item]) -> tuple[dict[str, Array], float]:
        """Rows of tokens → `[rows, longest]`, padded under a mask of zeros."""
        longest = max(item.length for item in items)
        fills = {self._ids: self._recipe.pad_id, self._mask: 0}
        batch = {name: pad_stack([i.tensors[name] for i in items], longest, fill) for name, fill in fills.items()}
        return batch, 1.0 - sum(item.length for item in items) / (longest * len(items))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """The vector as it is; pooling and normalising belong to the network."""
        return Embedding(row[self.card.signature.outputs[0].name].astype(np.float32, copy=False))

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        assert given.text is not None
        return TextInstance(given.text.encode())

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
            return f"the embedding is off by {error:.2g}, allowed is {expect.tolerance:.2g}"
        for pair in expect.pairs:
            other = answer_of[pair.text]
            assert isinstance(other, Embedding)
            cosine = float(answer.values @ other.values)
            if not pair.at_least <= cosine <= pair.at_most:
                return f"likeness to {pair.text!r} is {cosine:.3f}, expected {pair.at_least:g}..{pair.at_most:g}"
        return None


_PENDING = Item({})

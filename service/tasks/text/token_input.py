"""Texts, and pairs of texts → tokens, by the TextRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Encoding

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES
from service.tasks.instances import decode_text, decode_utf8, golden_text
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.occlusion import Occlusions
from service.tasks.text.shared_tokenizer import shared_tokenizer
from service.tasks.text.symbol_sequence import symbol_sequence
from service.tasks.text.word_occlusion import word_occlusions
from service.types import Instance, Item, TextInstance, TextPairInstance


class TokenInput:
    """Accepts texts, and pairs where the recipe has them (the protocol `SequenceCodec`). The mask keeps padding out of the
    answer."""

    raw_types: ClassVar[tuple[type, ...]] = (TextInstance, TextPairInstance)
    chunk: ClassVar[int] = 32
    offsets: ClassVar[bool] = False
    """Whether `_item` needs the place of each token in its text, which takes the tokenizer longer."""

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, TextRecipe):
            raise TypeError(f"card {card.name} has no text recipe")
        arguments = card.architecture.arguments
        config = arguments.get("config", arguments)
        types = int(config.get("type_vocab_size", 1))
        marks = None if card.recipe.mask_id is None else (card.recipe.mask_id, card.recipe.max_masks)
        self.sequence = MaskedSequence(card, card.recipe.pad_id, int(config["vocab_size"]), types=types, marks=marks)
        self._card, self._recipe = card, card.recipe
        self._shared = shared_tokenizer(
            files[card.recipe.tokenizer], card.recipe.max_tokens, strategy=card.recipe.truncation
        )

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[tokens]`, truncated as the recipe says; of a pair the longer text."""
        outcomes: list[Item | ZooError] = []
        texts: list[tuple[str, ...]] = []
        for instance, path in zip(instances, paths, strict=True):
            try:
                texts.append(self._texts(instance, path))
                outcomes.append(_PENDING)
            except InvalidInput as error:
                outcomes.append(error)
        most, prefix = self._recipe.max_characters, self._recipe.prefix
        cut = [tuple(prefix + text[:most] for text in pair) for pair in texts]
        encodings = iter(self._encoded([pair[0] if len(pair) == 1 else pair for pair in cut]))
        pending = iter(texts)
        for i, outcome in enumerate(outcomes):
            if outcome is _PENDING:
                encoding, own = next(encodings), next(pending)
                try:
                    if encoding is None:
                        most = self._recipe.max_tokens
                        raise InvalidInput(
                            _fields(instances[i], paths[i])[1], f"expected fewer than {most:,} tokens, got more"
                        )
                    outcomes[i] = self._item(encoding, own, paths[i])
                except InvalidInput as error:
                    outcomes[i] = error
        return outcomes

    def _encoded(self, texts: Sequence[Any]) -> list[Encoding | None]:
        """The encoding of each text or pair; None for a pair whose second text leaves no room for the first."""
        tokenizer = self._shared.tokenizer
        encode = tokenizer.encode_batch if self.offsets else tokenizer.encode_batch_fast
        try:
            return list(encode(texts))
        except Exception:  # the library has no error of its own for this
            if self._recipe.truncation == "longest_first":
                raise
        found: list[Encoding | None] = []
        for text in texts:
            try:
                found += encode([text])
            except Exception:
                found.append(None)
        return found

    def _texts(self, instance: Instance, path: str) -> tuple[str, ...]:
        if isinstance(instance, TextPairInstance) and self._recipe.pairs:
            first, second = _fields(instance, path)
            return decode_utf8(instance.text, first), decode_utf8(instance.text_pair, second)
        if isinstance(instance, TextInstance) and self._recipe.pairs_only:
            raise InvalidInput(path, "expected a text_pair, whose texts this model reads together, got text alone")
        text = decode_text(self._card, instance, path)
        if symbols := self._recipe.symbols:
            text = symbol_sequence(text, symbols, self._recipe.mask_token, path)
        return (text,)

    def _item(self, encoding: Encoding, texts: Sequence[str], path: str) -> Item:
        """Raises InvalidInput for a text whose tokens the network does not take."""
        ids = np.array(encoding.ids, np.int64)
        cut = bool(encoding.overflowing) or any(len(text) > self._recipe.max_characters for text in texts)
        notes = {"truncated": True, "tokens": len(ids), "characters": sum(map(len, texts))} if cut else None
        types = np.array(encoding.type_ids, np.int64) if self.sequence.types is not None else None
        return self.sequence.item(ids, notes, types)

    def occlusions(self, instance: Instance, path: str) -> Occlusions:
        """Texts without each of their words (the protocol `Occludable`)."""
        return word_occlusions(instance, path)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text or pair of a golden case."""
        return golden_text(given)


_PENDING = Item({})
"""Marks an outcome that the tokenizer has still to fill in."""


def _fields(instance: Instance, path: str) -> tuple[str, str]:
    """The fields of the request that hold the two texts of a pair."""
    given = instance.fields if isinstance(instance, TextPairInstance) else None
    return given or (f"{path}.text", f"{path}.text_pair")

"""Texts → tokens, by the TextRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES
from service.tasks.instances import decode_text, golden_text
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.text.shared_tokenizer import shared_tokenizer
from service.types import Instance, Item, TextInstance


class TokenInput:
    """Accepts texts (the protocol `SequenceCodec`). The mask keeps padding out of the answer."""

    raw_types: ClassVar[tuple[type, ...]] = (TextInstance,)
    chunk: ClassVar[int] = 32

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, TextRecipe):
            raise TypeError(f"card {card.name} has no text recipe")
        arguments = card.architecture.arguments
        ids = int(arguments.get("config", arguments)["vocab_size"])
        self.sequence = MaskedSequence(card, card.recipe.pad_id, ids)
        self._card, self._recipe = card, card.recipe
        self._shared = shared_tokenizer(files[card.recipe.tokenizer], card.recipe.max_tokens)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[tokens]`, truncated as the recipe says."""
        outcomes: list[Item | ZooError] = []
        texts: list[str] = []
        for instance, path in zip(instances, paths, strict=True):
            try:
                texts.append(decode_text(self._card, instance, path))
                outcomes.append(_PENDING)
            except InvalidInput as error:
                outcomes.append(error)
        most, prefix = self._recipe.max_characters, self._recipe.prefix
        encodings = iter(self._shared.tokenizer.encode_batch_fast([prefix + text[:most] for text in texts]))
        pending_texts = iter(texts)
        for i, outcome in enumerate(outcomes):
            if outcome is _PENDING:
                encoding, text = next(encodings), next(pending_texts)
                ids = np.array(encoding.ids, np.int64)
                cut = bool(encoding.overflowing) or len(text) > most
                notes = {"truncated": True, "tokens": len(ids), "characters": len(text)} if cut else None
                outcomes[i] = self.sequence.item(ids, notes)
        return outcomes

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        return golden_text(given)


_PENDING = Item({})
"""Marks an outcome that the tokenizer has still to fill in."""

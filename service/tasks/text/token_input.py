"""Texts → tokens. Input recipe: TextRecipe of the card."""

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
from service.tasks.masked_sequence import MaskedSequence, decode_text
from service.tasks.text.shared_tokenizer import shared_tokenizer
from service.types import Instance, Item, TextInstance


class TokenInput(MaskedSequence):
    """Takes texts. Those of unlike lengths ride together, padded; the mask keeps padding out of the answer."""

    chunk: ClassVar[int] = 32
    raw_types: ClassVar[tuple[type, ...]] = (TextInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, TextRecipe):
            raise TypeError(f"card {card.name} has no text recipe")
        self._recipe = card.recipe
        self.fill, self.ids = card.recipe.pad_id, int(card.architecture.arguments["vocab_size"])
        self._shared = shared_tokenizer(files[card.recipe.tokenizer], card.recipe.max_tokens)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[tokens]`, cut off as the recipe says."""
        outcomes: list[Item | ZooError] = []
        texts: list[str] = []
        for instance, path in zip(instances, paths, strict=True):
            try:
                texts.append(decode_text(self, instance, path))
                outcomes.append(_PENDING)
            except InvalidInput as error:
                outcomes.append(error)
        most = self._recipe.max_characters
        encodings = iter(self._shared.tokenizer.encode_batch_fast([text[:most] for text in texts]))
        waiting = iter(texts)
        for i, outcome in enumerate(outcomes):
            if outcome is _PENDING:
                encoding, text = next(encodings), next(waiting)
                ids = np.array(encoding.ids, np.int64)
                cut = bool(encoding.overflowing) or len(text) > most
                notes = {"truncated": True, "tokens": len(ids), "characters": len(text)} if cut else None
                outcomes[i] = self.item(ids, notes)
        return outcomes

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        assert given.text is not None
        return TextInstance(given.text.encode())


_PENDING = Item({})

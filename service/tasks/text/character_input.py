"""Texts → ids of their characters, by the CharacterRecipe of the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import CharacterRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES
from service.tasks.instances import decode_text, golden_text, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.occlusion import Occlusions
from service.tasks.text.word_occlusion import word_occlusions
from service.types import Instance, Item, TextInstance

BORDER = "<s>"
"""The symbol before and after a text, if the alphabet has one."""


class Alphabet:
    """Characters ↔ ids, from a JSON file that maps characters to ids."""

    def __init__(self, file: Path, recipe: CharacterRecipe) -> None:
        """Raises ValueError for a file that is no such mapping."""
        self._lower = recipe.lower
        loaded = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(loaded, dict) or not all(isinstance(i, int) and i >= 0 for i in loaded.values()):
            raise ValueError("the alphabet maps no characters to ids")
        self._ids: dict[str, int] = loaded
        self._characters = {i: character for character, i in loaded.items()}
        self.border: int | None = loaded.get(BORDER)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids `[n]` of the known characters; others are dropped."""
        text = text.lower() if self._lower else text
        known = (self._ids.get(character) for character in text)
        return np.array([i for i in known if i is not None], np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids, without ids that have no character, such as padding and border."""
        return "".join(self._characters.get(i, "") for i in ids if i != self.border)

    def writable(self, size: int) -> NDArray[np.bool_]:
        """Which of `size` ids stand for a character or the end."""
        return np.array([i in self._characters for i in range(size)])


class CharacterInput:
    """Accepts whole texts, and reads them from the beginning up to the recipe's limit (the protocol `SequenceCodec`)."""

    raw_types: ClassVar[tuple[type, ...]] = (TextInstance,)
    chunk: ClassVar[int] = 32

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, CharacterRecipe):
            raise TypeError(f"card {card.name} has no character recipe")
        self.alphabet = Alphabet(files[card.recipe.alphabet], card.recipe)
        self.sequence = MaskedSequence(card, card.recipe.pad_id, int(card.architecture.arguments["symbols"]))
        self._card, self._recipe = card, card.recipe

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[characters]`."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        text = decode_text(self._card, instance, path)
        most = self._recipe.max_characters
        ids = self.alphabet.encode(text[:most])
        if not len(ids):
            raise InvalidInput(path, "has no character that the model knows")
        return self.sequence.item(ids, {"truncated": True, "characters": len(text)} if len(text) > most else None)

    def occlusions(self, instance: Instance, path: str) -> Occlusions:
        """Texts without each of their words (the protocol `Occludable`)."""
        return word_occlusions(instance, path)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        return golden_text(given)

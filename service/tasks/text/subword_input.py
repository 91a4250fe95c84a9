"""Texts → ids of their words and character n-grams, by the SubwordRecipe of the card.

The hashing is that of fastText (Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 2017, arXiv:1607.04606;
``src/dictionary.cc``): a word is put between ``<`` and ``>``, and each of its n-grams has the id of the bucket of its hash.
N-grams are counted in characters and hashed as UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SubwordRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES
from service.tasks.instances import decode_text, golden_text, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.tasks.occlusion import Occlusions
from service.tasks.text.word_occlusion import word_occlusions
from service.types import Instance, Item, TextInstance

_SEPARATORS = re.compile(r"[ \n\r\t\v\f\0]+")
_END = "</s>"
"""Follows every text."""
_LABEL = "__label__"
"""Begins words that are classes, not text."""
_FNV_START, _FNV_PRIME = 2_166_136_261, 16_777_619


class SubwordVocabulary:
    """Texts → ids, from the JSON file that ``model_zoo.formats.fasttext`` makes."""

    def __init__(self, file: Path) -> None:
        """Raises ValueError for a file that is no such vocabulary."""
        loaded = json.loads(file.read_text(encoding="utf-8"))
        try:
            words, kept = loaded["words"], loaded["kept"]
            self._words = {str(word): i for i, word in enumerate(words)}
            self._kept = None if kept is None else {int(bucket): int(row) for bucket, row in kept.items()}
            self._shortest, self._longest = int(loaded["shortest"]), int(loaded["longest"])
            self._buckets = int(loaded["buckets"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the vocabulary has no words, kept, shortest, longest and buckets") from error
        self.size = len(words) + (self._buckets if self._kept is None else len(self._kept))
        """Words and n-grams that have an id."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids `[n]` of the words and n-grams that are known, in their order, and of the end of the text."""
        ids: list[int] = []
        for word in _SEPARATORS.split(text):
            if word and not word.startswith(_LABEL):
                ids += self._word(word)
        if ids:
            ids += self._word(_END)
        return np.array(ids, np.int64)

    def _word(self, word: str) -> list[int]:
        known = self._words.get(word)
        ids = [] if known is None else [known]
        if word == _END:
            return ids
        for gram in ngrams(f"<{word}>", self._shortest, self._longest):
            row = fnv1a(gram) % self._buckets
            if self._kept is None:
                ids.append(len(self._words) + row)
            elif row in self._kept:
                ids.append(len(self._words) + self._kept[row])
        return ids


def ngrams(word: str, shortest: int, longest: int) -> Iterator[bytes]:
    """The n-grams of a word in UTF-8, from each character on; the first and the last character alone are none."""
    for start in range(len(word)):
        for length in range(max(shortest, 1), min(longest, len(word) - start) + 1):
            if length > 1 or 0 < start < len(word) - 1:
                yield word[start : start + length].encode("utf-8", "surrogatepass")


def fnv1a(data: bytes) -> int:
    """fastText's hash of 32 bits: FNV-1a, in which bytes from 128 on are negative numbers."""
    found = _FNV_START
    for byte in data:
        found = ((found ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * _FNV_PRIME) & 0xFFFFFFFF
    return found


class SubwordInput:
    """Accepts texts, and reads them from the beginning up to the recipe's limit (the protocol `SequenceCodec`)."""

    raw_types: ClassVar[tuple[type, ...]] = (TextInstance,)
    chunk: ClassVar[int] = 8

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        """Raises TypeError for a card with another kind of recipe; ValueError for a vocabulary that does not fit the network."""
        if not isinstance(card.recipe, SubwordRecipe):
            raise TypeError(f"card {card.name} has no recipe of subwords")
        arguments: Mapping[str, Any] = card.architecture.arguments
        self.vocabulary = SubwordVocabulary(files[card.recipe.vocabulary])
        if self.vocabulary.size != arguments["symbols"]:
            raise ValueError(
                f"card {card.name} has {arguments['symbols']} symbols, its vocabulary {self.vocabulary.size}"
            )
        self.sequence = MaskedSequence(card, card.recipe.pad_id, self.vocabulary.size)
        self._card, self._recipe = card, card.recipe

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Texts → `input_ids` and `attention_mask`, int64 `[words and n-grams]`."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        text = decode_text(self._card, instance, path)
        ids = self.vocabulary.encode(text[: self._recipe.max_characters])
        if not len(ids):
            raise InvalidInput(path, "has no word of which the model knows a part")
        most = self._card.batching.max_length
        cut = len(text) > self._recipe.max_characters or (most is not None and len(ids) > most)
        return self.sequence.item(ids[:most], {"truncated": True, "characters": len(text)} if cut else None)

    def occlusions(self, instance: Instance, path: str) -> Occlusions:
        """Texts without each of their words (the protocol `Occludable`)."""
        return word_occlusions(instance, path)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The text of a golden case."""
        return golden_text(given)

"""Texts about labels → tokens, by the LabelledImageRecipe of a card."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import LabelledImageRecipe
from service.tasks.instances import decode_utf8
from service.tasks.text.shared_tokenizer import shared_tokenizer

LONGEST_SENTENCE = 8_000
"""Bytes of a text about a label: a template and a label of a thousand characters each, of up to four bytes."""
_KEPT, _MOST_KEPT_BYTES = 64, 1 << 14
"""Lists of texts whose tokens are remembered, and how long one may be: most callers ask the same of many images."""
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class LabelTokens(NamedTuple):
    """The tokens of some texts."""

    ids: NDArray[np.int64]
    """`[texts, tokens]`, padded as the recipe says. Read-only."""
    mask: NDArray[np.int64]
    """`[texts, tokens]`, 1 for tokens and 0 for padding. Read-only."""
    truncated: bool
    """Whether a text was cut."""


class LabelTexts:
    """Tokenises the texts of one row together. Any thread may call it."""

    def __init__(self, recipe: LabelledImageRecipe, tokenizer: Path) -> None:
        self._recipe = recipe
        self._shared = shared_tokenizer(tokenizer, recipe.text.max_tokens)
        self._remembered = lru_cache(maxsize=_KEPT)(self._read)

    def tokens(self, texts: tuple[bytes, ...], path: str) -> LabelTokens:
        """The tokens of UTF-8 texts. Raises InvalidInput for a text that is blank or no UTF-8; `path` names the texts."""
        decoded = tuple(decode_utf8(text, f"{path}[{i}]") for i, text in enumerate(texts))
        return (self._remembered if sum(map(len, texts)) <= _MOST_KEPT_BYTES else self._read)(decoded)

    def _read(self, texts: tuple[str, ...]) -> LabelTokens:
        recipe = self._recipe
        given = [_simplified(text) for text in texts] if recipe.simplified else [*texts]
        encodings = self._shared.tokenizer.encode_batch_fast(given)
        lengths = [len(encoding.ids) for encoding in encodings]
        width = recipe.text.max_tokens if recipe.fixed_length else max(1, *lengths)
        ids = np.full((len(texts), width), recipe.text.pad_id, np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for i, encoding in enumerate(encodings):
            ids[i, : lengths[i]], mask[i, : lengths[i]] = encoding.ids, 1
        ids.flags.writeable = mask.flags.writeable = False
        return LabelTokens(ids, mask, any(encoding.overflowing for encoding in encodings))


def padded(rows: Sequence[NDArray[np.int64]], fill: int) -> NDArray[np.int64]:
    """Rows `[texts, tokens]` of unlike sizes → `[rows, most texts, most tokens]`. Missing tokens are `fill`; missing texts are
    the first one of their row, which the network runs in any case."""
    texts, tokens = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    batch = np.full((len(rows), texts, tokens), fill, np.int64)
    for i, row in enumerate(rows):
        count, width = row.shape
        batch[i, :count, :width] = row
        batch[i, count:, :width] = row[0]
    return batch


def _simplified(text: str) -> str:
    """Without capitals, ASCII punctuation and repeated spaces."""
    return " ".join(text.lower().translate(_WITHOUT_PUNCTUATION).split())

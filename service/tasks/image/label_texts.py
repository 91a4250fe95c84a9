"""Texts about labels → tokens, by the LabelledImageRecipe of a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import LabelledImageRecipe
from service.tasks.instances import decode_utf8
from service.tasks.text.piece_tokenizer import PieceTokenizer, simplified
from service.tasks.text.shared_tokenizer import shared_tokenizer

LONGEST_SENTENCE = 8_000
"""Bytes of a text about a label: a template and a label of a thousand characters each, of up to four bytes."""
_KEPT, _MOST_KEPT_BYTES = 64, 1 << 14
"""Lists of texts whose tokens are remembered, and how long one may be: most callers ask the same of many images."""

Encode = Callable[[Sequence[str]], Sequence[tuple[Sequence[int], bool]]]
"""Texts → the token ids of each, and whether it was cut."""


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

    def __init__(self, recipe: LabelledImageRecipe, files: Mapping[str, Path]) -> None:
        self._recipe = recipe
        self._encode = _by_pieces(recipe, files) if recipe.pieces else _by_tokenizer(recipe, files)
        self._remembered = lru_cache(maxsize=_KEPT)(self._read)

    def tokens(self, texts: tuple[bytes, ...], path: str) -> LabelTokens:
        """The tokens of UTF-8 texts. Raises InvalidInput for a text that is blank or no UTF-8; `path` names the texts."""
        decoded = tuple(decode_utf8(text, f"{path}[{i}]") for i, text in enumerate(texts))
        return (self._remembered if sum(map(len, texts)) <= _MOST_KEPT_BYTES else self._read)(decoded)

    def _read(self, texts: tuple[str, ...]) -> LabelTokens:
        recipe = self._recipe
        encoded = self._encode(texts)
        lengths = [len(found) for found, _ in encoded]
        width = recipe.text.max_tokens if recipe.fixed_length else max(1, *lengths)
        ids = np.full((len(texts), width), recipe.text.pad_id, np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for i, (found, _) in enumerate(encoded):
            ids[i, : lengths[i]], mask[i, : lengths[i]] = found, 1
        ids.flags.writeable = mask.flags.writeable = False
        return LabelTokens(ids, mask, any(cut for _, cut in encoded))


def _by_tokenizer(recipe: LabelledImageRecipe, files: Mapping[str, Path]) -> Encode:
    shared = shared_tokenizer(files[recipe.text.tokenizer], recipe.text.max_tokens)

    def encode(texts: Sequence[str]) -> list[tuple[Sequence[int], bool]]:
        given = [simplified(text) for text in texts] if recipe.simplified else [*texts]
        return [(one.ids, bool(one.overflowing)) for one in shared.tokenizer.encode_batch_fast(given)]

    return encode


def _by_pieces(recipe: LabelledImageRecipe, files: Mapping[str, Path]) -> Encode:
    assert recipe.pieces is not None
    tokenizer = PieceTokenizer(recipe.pieces, files[recipe.pieces.file], recipe.text.max_tokens)
    return lambda texts: [tokenizer.ids(text) for text in texts]


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

"""Texts → tokens by a model of sentencepiece, as transformers' own `SiglipTokenizer` does it."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from model_zoo.cards.recipes import PieceTokens

BLANK = "▁"
"""Stands for a space in pieces. In a text it counts as a space."""
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class PieceTokenizer:
    """The tokenizer of one file. It does not change, and any thread may call it."""

    def __init__(self, recipe: PieceTokens, path: Path, max_tokens: int) -> None:
        """`max_tokens`: of a text with the token that ends it."""
        from sentencepiece import SentencePieceProcessor  # only networks of this kind need it

        self._pieces: Any = SentencePieceProcessor(model_file=str(path))
        self._before, self._end, self._most = recipe.unknown, recipe.end_id, max_tokens - 1
        self._skipped = len(self._pieces.encode(self._before))

    def ids(self, text: str) -> tuple[list[int], bool]:
        """Token ids of a text, and whether it was cut.

        The library puts the text of the unknown token in front and takes its pieces off again: sentencepiece would otherwise drop
        the blank that begins the text.
        """
        simple = simplified(BLANK + text.replace(BLANK, " "))
        found: list[int] = self._pieces.encode(self._before + simple)[self._skipped :]
        return [*found[: self._most], self._end], len(found) > self._most


def simplified(text: str) -> str:
    """Without capitals, ASCII punctuation and repeated spaces."""
    return " ".join(text.lower().translate(_WITHOUT_PUNCTUATION).split())

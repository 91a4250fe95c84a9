"""Texts without one of their words, for attributions."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.tasks.instances import decode_utf8
from service.tasks.occlusion import MOST_PARTS, Occlusions
from service.types import Instance, TextInstance, WordWeight

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and ideographs: scripts whose words have no spaces between them, of which each character counts."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
NO_WORD = "."
"""Stands for a text of which nothing is left: no task takes an empty one."""


def word_occlusions(instance: Instance, path: str) -> Occlusions:
    """A text without each of its words; of a long text without each of MOST_PARTS groups of neighbouring words.

    Raises InvalidInput for what is no single text.
    """
    if not isinstance(instance, TextInstance):
        raise InvalidInput("options.attribute", "expected single texts: attributions of pairs and tensors do not exist")
    text = decode_utf8(instance.data, f"{path}.text")
    spans = _groups([found.span() for found in _WORD.finditer(text)])

    def variant(i: int) -> Instance:
        start, end = spans[i]
        rest = text[:start] + text[end:]
        return TextInstance((rest if rest.strip() else NO_WORD).encode())

    def weights(lost: NDArray[np.float64]) -> tuple[WordWeight, ...]:
        pairs = zip(spans, lost.tolist(), strict=True)
        return tuple(WordWeight(start, end, text[start:end], loss) for (start, end), loss in pairs)

    return Occlusions(len(spans), variant, weights)


def _groups(words: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of equally many words, from the first to the last character."""
    count = min(len(words), MOST_PARTS)
    bounds = [i * len(words) // count for i in range(count + 1)] if count else []
    return [(words[a][0], words[b - 1][1]) for a, b in pairwise(bounds)]

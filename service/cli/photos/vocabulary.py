"""Words of a search → the labels of a classifier that they stand for.

A classifier of ImageNet's 1,000 classes is asked by the names of its classes and of their kinds in WordNet, and then by the words
within those names. Of any other classifier, a word or phrase stands for the labels that contain it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.cli.photos.errors import UnknownWord
from service.cli.photos.kinds import CLASSES, KindTable, normalised, singulars

MOST_WORDS = 6
"""Of one phrase."""
_NEAR = 5
"""Similar words in the error of an unknown one."""
_SAME_NAMES = 900
"""Classes that must have one of ImageNet's names at their place: some lists of labels name a few classes in their own way."""
_OFFSETS = (0, 1)
"""Some networks have a class for the background before the 1,000."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase of a search, and the classes that it stands for."""

    text: str
    classes: frozenset[int]


class Vocabulary:
    """The words of one classifier."""

    def __init__(self, labels: Sequence[str], table: KindTable) -> None:
        self._plurals = table.plurals
        offset = imagenet_offset(labels, table)
        self.is_imagenet = offset is not None
        """Whether the labels are ImageNet's 1,000 classes, which exclude one another."""
        self._kinds: Mapping[str, frozenset[int]] = {}
        if offset is not None:
            self._kinds = {word: frozenset(n + offset for n in classes) for word, classes in table.kinds.items()}
        self._parts = _parts_of_names(labels, table.plurals)
        self._spelled = {
            *self._kinds,
            *(phrase for label in labels for name in _names(label) for phrase in _phrases(name)),
        }

    def terms(self, words: Sequence[str]) -> list[Term]:
        """The terms of a search: the longest phrases that are known, from left to right. Raises UnknownWord."""
        tokens = normalised(" ".join(words)).split()
        terms = []
        while tokens:
            term = self._first(tokens)
            if term is None:
                raise UnknownWord(tokens[0], self.near(tokens[0]))
            terms.append(term)
            del tokens[: term.text.count(" ") + 1]
        return terms

    def near(self, word: str) -> list[str]:
        """Known words with a similar spelling."""
        return difflib.get_close_matches(word, sorted(self._spelled), _NEAR)

    def _first(self, tokens: Sequence[str]) -> Term | None:
        """The longest known phrase at the beginning; a kind before a part of a name."""
        for phrases in (self._kinds, self._parts):
            for length in range(min(MOST_WORDS, len(tokens)), 0, -1):
                text = " ".join(tokens[:length])
                known = [phrases[phrase] for phrase in singulars(text, self._plurals) if phrase in phrases]
                if known:  # a kind has one spelling; labels may have both the singular and the plural
                    return Term(text, known[0] if phrases is self._kinds else frozenset[int]().union(*known))
        return None


def imagenet_offset(labels: Sequence[str], table: KindTable) -> int | None:
    """The number of the first of ImageNet's classes among the labels of a classifier; None if they are others."""
    for offset in _OFFSETS:
        if len(labels) != CLASSES + offset:
            continue
        own = labels[offset:]
        same = sum(not names.isdisjoint(_names(label)) for label, names in zip(own, table.names, strict=True))
        if same >= _SAME_NAMES:
            return offset
    return None


def _names(label: str) -> list[str]:
    """The names that a label lists: `tabby, tabby cat`."""
    return [normalised(name) for name in label.split(",")]


def _phrases(name: str) -> Iterator[str]:
    """Each word and phrase within a name."""
    words = name.split()
    for start in range(len(words)):
        for end in range(start + 1, min(start + MOST_WORDS, len(words)) + 1):
            yield " ".join(words[start:end])


def _parts_of_names(labels: Sequence[str], plurals: Mapping[str, str]) -> dict[str, frozenset[int]]:
    """Each word and phrase within a name, also as a singular → the labels that contain it."""
    found: dict[str, set[int]] = {}
    for number, label in enumerate(labels):
        for name in _names(label):
            for part in _phrases(name):
                for phrase in singulars(part, plurals):
                    found.setdefault(phrase, set()).add(number)
    return {phrase: frozenset(numbers) for phrase, numbers in found.items()}

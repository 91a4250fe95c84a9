"""Words for the 1,000 classes of ImageNet: the names of each class, and of all that it is a kind of in WordNet ("cat", "bird").

`imagenet_kinds.tsv` is written by `scripts/imagenet_kinds.py`. Each of its lines is a synset: its words, and the numbers of the
lines that it is a kind of. The first 1,000 are the classes in order; irregular plurals follow after a blank line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CLASSES = 1000
TABLE = "imagenet_kinds.tsv"
_LONGEST_WORD = 60
"""Characters of a word whose singular is looked for."""
_SUFFIXES = (
    ("men", "man"),
    ("ies", "y"),
    ("ves", "f"),
    ("ves", "fe"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("xes", "x"),
    ("zes", "z"),
    ("ses", "s"),
    ("oes", "o"),
    ("s", ""),
)
"""Regular plurals, as WordNet's morphology takes them apart."""


@dataclass(frozen=True, slots=True)
class KindTable:
    """The words of the classes."""

    kinds: Mapping[str, frozenset[int]]
    """A word or phrase, as `normalised` gives it → the classes that it names, or that are kinds of what it names."""
    names: Sequence[frozenset[str]]
    """The own names of each class."""
    plurals: Mapping[str, str]
    """Irregular plurals."""


@cache
def imagenet_kinds() -> KindTable:
    """The packaged table."""
    return read_kinds((files(__package__) / TABLE).read_text(encoding="utf-8"))


def read_kinds(text: str) -> KindTable:
    """A table from its file."""
    content = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    synsets, _, irregular = content.partition("\n\n")
    words: list[tuple[str, ...]] = []
    parents: list[tuple[int, ...]] = []
    for line in synsets.splitlines():
        names, _, above = line.partition("\t")
        words.append(tuple(normalised(name) for name in names.split(", ")))
        parents.append(tuple(map(int, above.split())))
    found: dict[str, set[int]] = {}
    for number in range(CLASSES):
        for synset in _above(number, parents):
            for word in words[synset]:
                found.setdefault(word, set()).add(number)
    plurals = dict(line.split("\t") for line in irregular.splitlines())
    kinds = {word: frozenset(numbers) for word, numbers in found.items()}
    return KindTable(kinds, [frozenset(names) for names in words[:CLASSES]], plurals)


def _above(start: int, parents: Sequence[Sequence[int]]) -> set[int]:
    """A synset, and all that it is a kind of."""
    seen, waiting = {start}, [start]
    while waiting:
        for parent in parents[waiting.pop()]:
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return seen


def normalised(text: str) -> str:
    """A word or phrase without capitals, accents, hyphens and underscores, with single spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return " ".join(plain.replace("_", " ").replace("-", " ").split())


def singulars(phrase: str, plurals: Mapping[str, str]) -> Iterator[str]:
    """A phrase as it is, and with its last word as a singular, the likeliest first."""
    yield phrase
    before, _, word = phrase.rpartition(" ")
    lead = f"{before} " if before else ""
    if len(word) > _LONGEST_WORD:
        return
    if word in plurals:
        yield lead + plurals[word]
    for suffix, singular in _SUFFIXES:
        if word.endswith(suffix) and len(word) > len(suffix):
            yield lead + word.removesuffix(suffix) + singular

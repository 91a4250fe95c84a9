"""The words by which people name splits, in cells and in names of folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_WORDS_OF_SPLITS = {
    "train": """
        train training trainval trainset trainingset trainingsdaten trainingsset trainingsmenge trainieren
        entrainement apprentissage entrenamiento entreno addestramento treino treinamento
    """,
    "validation": """
        val valid validation validating dev development devset valset validierung validierungsdaten validierungsset
        validacion validacao validazione
    """,
    "test": """
        test testing tests testset testdaten testmenge eval evaluation evaluate evalset evaluierung auswertung holdout hold_out
        hold-out heldout held_out held-out evaluacion prueba pruebas essai essais teste
    """,
}
SPLIT_WORDS = {word: split for split, words in _WORDS_OF_SPLITS.items() for word in words.split()}
"""Words for the splits, in lower case and without accents. Words for evaluation mean the test split."""


def split_from_word(name: str) -> str:
    """The split of a word in any case and with any accents; empty if it names none."""
    folded = name.strip().casefold()
    if not folded.isascii():
        folded = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return SPLIT_WORDS.get(folded, "")


_WRAPS = """
    set sets data dataset datasets image images img imgs picture pictures pics photo photos jpg jpeg png file files
    sample samples seg split folder audio sound sounds wav wavs text texts raw original
"""
WRAPPER_WORDS = frozenset(_WRAPS.split())
"""Words that may stand beside that of a split, and names of folders that only wrap the classes below."""
_WORDS = re.compile(r"[^\W\d_]+")
_JOINED = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing|eval|evaluation|holdout)(set|data|images|imgs)"
)


def split_from_folder(folder: str) -> str:
    """The split that a folder is named after; empty if there is none. `train`, `Training Set`, `seg_test`, `valdata`."""
    if split := split_from_word(folder):
        return split
    words = _words(folder)
    named = {split_from_word(word) for word in words} - {""}
    if any(not split_from_word(word) and word not in WRAPPER_WORDS for word in words):
        return ""
    if named == {"train", "validation"}:
        return "train"  # `train_val`
    return named.pop() if len(named) == 1 else ""


def _words(folder: str) -> list[str]:
    words = [part for word in _WORDS.findall(folder) for part in _parts(word.casefold())]
    return " ".join(words).replace("hold out", "holdout").replace("held out", "holdout").split()


def _parts(word: str) -> tuple[str, ...]:
    joined = _JOINED.fullmatch(word)
    return (joined[1], joined[2]) if joined else (word,)


def splits_from_folders(firsts: Collection[str]) -> dict[str, str]:
    """The split of each folder. Names that differ only in the word for a split count as splits: `news-train`, `news-test`."""
    splits = {name: split_from_folder(name) for name in firsts}
    shared = {" ".join(word for word in _words(name) if not split_from_word(word)) for name in firsts}
    loose = {name: only_split_in(name) for name in firsts}
    if len(shared) == 1 and len(set(loose.values())) > 1 and "train" in loose.values() and all(loose.values()):
        splits = loose
    if any(split == "test" and not _evaluates(name) for name, split in splits.items()):
        splits = {name: "validation" if split and _evaluates(name) else split for name, split in splits.items()}
    return splits


def _evaluates(folder: str) -> bool:
    """Whether the name has a word for evaluation; beside a test split, it means validation."""
    return any(word.startswith("eval") for word in _words(folder))


def only_split_in(folder: str) -> str:
    """The only split that a name has a word for, whatever its other words: `my-photos-train`."""
    named = {split_from_word(word) for word in _words(folder)} - {""}
    return named.pop() if len(named) == 1 else ""

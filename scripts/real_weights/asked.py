"""Asks a running server: for each network how many answers are right, and one of them to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.client import Client

from . import questions


@dataclass(frozen=True)
class Answered:
    """How many answers are right, of how many; and one of them."""

    right: int
    of: int
    example: str


def _masked(zoo: Client, name: str, asked: Sequence[questions.Masked], shown: str) -> Answered:
    answers: Any = zoo.predict(name, [one.text for one in asked], top_k=1)
    found = [answer.masks[0][0].token for answer in answers]
    right = sum(token == one.symbol for token, one in zip(found, asked, strict=True))
    return Answered(right, len(asked), f"{shown} {asked[0].text[:40]} → {found[0]}")


def _atoms(zoo: Client, name: str) -> Answered:
    return _masked(zoo, name, questions.masked_atoms(), "atom in")


def _heavy(zoo: Client, name: str) -> Answered:
    return _masked(zoo, name, questions.masked_residues(questions.HEAVY_CHAIN), "residue in")


def _light(zoo: Client, name: str) -> Answered:
    return _masked(zoo, name, questions.masked_residues(questions.LIGHT_CHAIN), "residue in")


def _facts(zoo: Client, name: str) -> Answered:
    answers: Any = zoo.predict(name, [text for text, _ in questions.FACTS], max_new_tokens=8)
    pairs = list(zip(answers, questions.FACTS, strict=True))
    right = sum(word.lower() in answer.text.lower() for answer, (_, word) in pairs)
    return Answered(right, len(pairs), f"{questions.FACTS[0][0]} →{answers[0].text.splitlines()[0]}")


def _meanings(zoo: Client, name: str) -> Answered:
    found: Any = zoo.predict(name, [text for texts in questions.MEANINGS for text in texts])
    vectors = np.stack([one.values for one in found]).reshape(len(questions.MEANINGS), 3, -1)
    same, other = (np.einsum("nd,nd->n", vectors[:, 0], vectors[:, i]) for i in (1, 2))
    example = f"same meaning {same.mean():.2f}, another {other.mean():.2f}"
    return Answered(int((same > other).sum()), len(same), example)


def _words(zoo: Client, name: str) -> Answered:
    asked = questions.recordings()
    answers: Any = zoo.predict(name, [path for path, _ in asked])
    texts = [answer.text.strip() for answer in answers]
    right = sum(word in text.lower() for text, (_, word) in zip(texts, asked, strict=True))
    return Answered(right, len(asked), f"a voice says “{asked[0][1]}” → {texts[0]}")


def _photos(zoo: Client, name: str) -> Answered:
    asked = questions.photos()
    found: Any = zoo.predict(name, [path for path, _ in asked])
    vectors = np.stack([one.values for one in found])
    right = questions.nearest_of_own_class(vectors, [label for _, label in asked])
    return Answered(right, len(asked), "the nearest other photo is of the same class")


ASKED: Mapping[str, Callable[[Client, str], Answered]] = {
    "reaction_albert": _atoms,
    "antibody_heavy_roberta": _heavy,
    "antibody_light_roberta": _light,
    "minilm": _meanings,
    "smollm2": _facts,
    "whisper_tiny_en": _words,
    "dinov2_small": _photos,
}

"""What the networks are asked: things that are known, so that a figure says how many of the answers are right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .converters.albert import SYMBOL

REACTIONS = (
    "CC(=O)O.OCC>>CC(=O)OCC",
    "CC(=O)Cl.NCc1ccccc1>>CC(=O)NCc1ccccc1",
    "OB(O)c1ccccc1.Brc1ccncc1>>c1ccc(-c2ccncc2)cc1",
    "O=Cc1ccccc1.NCCO>>OCCNCc1ccccc1",
    "COC(=O)c1ccc(F)cc1>>O=C(O)c1ccc(F)cc1",
)
"""Making an ester, an amide, a biaryl (Suzuki), an amine (reductive amination), and taking an ester apart; as SMILES."""

HEAVY_CHAIN = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRY"
    "ADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS"
)
LIGHT_CHAIN = (
    "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK"
)
"""Variable regions of trastuzumab, a humanised antibody."""


@dataclass(frozen=True)
class Masked:
    """A text with one masked symbol, and that symbol."""

    text: str
    symbol: str


def masked_atoms(mask: str = "[MASK]") -> list[Masked]:
    """Each atom of the product of each reaction, masked alone."""
    found = []
    for reaction in REACTIONS:
        symbols = re.findall(SYMBOL, reaction)
        for place in range(symbols.index(">>") + 1, len(symbols)):
            found += [_masked(symbols, place, mask)] if symbols[place].isalpha() else []
    return found


def masked_residues(chain: str, mask: str = "<mask>") -> list[Masked]:
    """Each residue of a chain, masked alone."""
    return [_masked(list(chain), place, mask) for place in range(len(chain))]


def _masked(symbols: Sequence[str], place: int, mask: str) -> Masked:
    return Masked("".join([*symbols[:place], mask, *symbols[place + 1 :]]), symbols[place])


FACTS = (
    ("The capital of France is", "Paris"),
    ("The capital of Italy is", "Rome"),
    ("The opposite of hot is", "cold"),
    ("The sun rises in the", "east"),
    ("Water is made of hydrogen and", "oxygen"),
)
"""Beginnings of sentences, and a word that a right answer holds."""

MEANINGS = (
    ("A man is eating food.", "Somebody has a meal.", "The stock market fell sharply."),
    ("How do I reset my password?", "I forgot my login and need a new one.", "The cake needs an hour in the oven."),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch.", "Parliament passed the budget."),
)
"""A sentence, one that means the same, and another one."""

STAMPS = Path("/usr/share/tuxpaint/stamps")
SPOKEN = ("elephant", "zebra", "tiger", "lion", "gorilla", "rabbit", "dolphin", "whale", "kangaroo", "frog")
"""Animals whose names an English voice says in the package tuxpaint-stamps-default, one to a file."""
PICTURED = {
    "birds": "animals/birds",
    "coins": "symbols/money",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "mammals": "animals/mammals",
    "vehicles": "vehicles",
}
"""Photos of that package by class."""
_NO_PHOTO = ("cartoon", "toys", "_mirror", "_flip")


def recordings() -> list[tuple[Path, str]]:
    """Recordings, and the word that is said in each."""
    found = {path.name.removesuffix("_desc.ogg"): path for path in sorted(STAMPS.rglob("*_desc.ogg"))}
    return [(found[word], word) for word in SPOKEN if word in found]


def photos(most: int = 12) -> list[tuple[Path, str]]:
    """Photos, and the class of each."""
    found = []
    for name, folder in PICTURED.items():
        paths = sorted((STAMPS / folder).rglob("*.png"))
        found += [(path, name) for path in [p for p in paths if not any(w in str(p) for w in _NO_PHOTO)][:most]]
    return found


def nearest_of_own_class(vectors: NDArray[np.float32], classes: Sequence[str]) -> int:
    """How many vectors have one of their own class as the nearest other one, by the cosine."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    return sum(classes[i] == classes[j] for i, j in enumerate(near.argmax(axis=1)))

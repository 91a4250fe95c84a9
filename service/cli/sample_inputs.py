"""Inputs for the calls that Zoo prints: files that ship with it, and what the card of a model says that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_zoo.cards.card import Card

_SHIPPED = {
    "image": "cat.jpg",
    "audio": "speech.flac",
    "video": "shots.mp4",
    "record": "cat.jpg",
    "volume": "head.nii.gz",
}
"""By raw input: a file in the folders `examples` of the repository and `model_zoo/golden` of the package."""
_PACKAGE, _REPOSITORY = Path(__file__).resolve().parents[2] / "model_zoo" / "golden", Path("examples")


@dataclass(frozen=True, slots=True)
class SampleInput:
    """An input that one model takes. Empty fields: nothing is known of it but its kind."""

    text: str = ""
    file: str = ""
    """Name of a file in `model_zoo/golden`."""
    row: Mapping[str, Any] = field(default_factory=dict)


def sample_of(card: Card) -> SampleInput:
    """Of the card's golden cases; a text with the card's own mask, for a network that finds masked tokens."""
    from model_zoo.golden.sample_text import sample_text

    inputs = [case.input for case in card.golden]
    file = next((one.file for one in inputs if one.file is not None), "")
    row = next((one.row for one in inputs if one.row is not None), {})
    return SampleInput(sample_text(card), file, row)


def sample_path(raw_input: str, file: str = "") -> str:
    """A photo, a sound or a video that exists on this machine, with as few folders before it as it needs from here."""
    name = file or _SHIPPED[raw_input]
    near = _REPOSITORY / name
    return str(near if near.is_file() else _PACKAGE / name)

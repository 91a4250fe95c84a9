"""The raw inputs that Zoo and the makers' library both answer when a model is pulled."""

from __future__ import annotations

from model_zoo.golden.golden_case import GoldenInput

TEXTS = (
    "The film was a delight from the first minute to the last.",
    "Ich hätte gern zwei Brötchen, bitte! 🥐",
    "?",
    "The old lighthouse keeper climbed the winding stairs each evening to light the lamp. " * 60,
)
"""Plain, with characters beyond ASCII, a single one, and one that is longer than most networks take."""

PHOTOS = ("cat.jpg", "coffee.jpg")


def verification_inputs(raw_input: str) -> list[GoldenInput]:
    """Inputs of a kind: `image` or `text`."""
    if raw_input == "image":
        return [GoldenInput(file=name) for name in PHOTOS]
    return [GoldenInput(text=text) for text in TEXTS]

"""The raw inputs that Zoo and the makers' library both answer when a model is pulled."""

from __future__ import annotations

from collections.abc import Mapping

from model_zoo.golden.golden_case import GoldenInput, Noise

TEXTS = (
    "The film was a delight from the first minute to the last.",
    "Ich hätte gern zwei Brötchen, bitte! 🥐",
    "?",
    "The old lighthouse keeper climbed the winding stairs each evening to light the lamp. " * 60,
)
"""Plain, with characters beyond ASCII, a single one, and one that is longer than most networks take."""

PHOTOS = ("cat.jpg", "coffee.jpg")

SOUNDS = (GoldenInput(file="speech.flac"), GoldenInput(noise=Noise(seed=1, seconds=1.0)))
"""Three seconds of speech, and noise."""


_BY_RAW_INPUT: Mapping[str, tuple[GoldenInput, ...]] = {
    "image": tuple(GoldenInput(file=name) for name in PHOTOS),
    "audio": SOUNDS,
    "text": tuple(GoldenInput(text=text) for text in TEXTS),
}
_BY_TASK: Mapping[str, tuple[GoldenInput, ...]] = {}
"""Of tasks whose inputs differ from those that all tasks of their raw input answer."""


def verification_inputs(raw_input: str, task: str = "") -> list[GoldenInput]:
    """Inputs of a task, or of all tasks with a raw input: `image`, `audio` or `text`."""
    return list(_BY_TASK.get(task) or _BY_RAW_INPUT[raw_input])

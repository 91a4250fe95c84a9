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
PAIRS = (
    ("The keeper climbed the stairs to light the lamp.", "Somebody lit a lamp."),
    (TEXTS[3], TEXTS[1] * 30),
)
"""Texts for networks that read two together; of the second pair both are longer than most networks take."""
MASKED = (
    "The keeper climbed the {mask} to light the lamp.",
    "{mask} hätte gern zwei {mask}, bitte! 🥐",
    "{mask}",
    "The old {mask} keeper. " + TEXTS[3],
)
"""Texts for networks that find masked tokens."""
LABELS = ("cat", "cup of coffee", "Rocket!", "lighthouse keeper who climbs the winding stairs", "Brötchen 🥐")
"""Labels for photos: of unlike lengths, with capitals, punctuation and characters beyond ASCII."""
HYPOTHESES = (PAIRS[0], (TEXTS[3], "This text is about a lamp."), (TEXTS[1], "?"))
"""Texts and sentences about them. A sentence is never cut, so that none is long."""
_BY_TASK: Mapping[str, tuple[GoldenInput, ...]] = {
    "fill-mask": tuple(GoldenInput(text=text) for text in MASKED),
    "text-ranking": tuple(GoldenInput(text=a, text_pair=b) for a, b in (*PAIRS, PAIRS[0][::-1], (TEXTS[2], TEXTS[1]))),
    "zero-shot-classification": tuple(GoldenInput(text=a, text_pair=b) for a, b in HYPOTHESES),
    "zero-shot-image-classification": (
        *(GoldenInput(file=name, candidate_labels=LABELS) for name in PHOTOS),
        GoldenInput(file=PHOTOS[0], candidate_labels=LABELS[:2]),
    ),
}
"""Of tasks whose inputs differ from those that all tasks of their raw input answer."""


def verification_inputs(raw_input: str, task: str = "", pairs: bool = False, mask: str = "") -> list[GoldenInput]:
    """Inputs of a task, or of all tasks with a raw input: `image`, `audio` or `text`.

    Args:
        pairs: whether the network takes pairs of texts.
        mask: stands in a text for a token to be found.
    """
    found = list(_BY_TASK.get(task) or _BY_RAW_INPUT[raw_input])
    if mask:
        found = [GoldenInput(text=(one.text or "").replace("{mask}", mask)) for one in found]
    return [*found, *(GoldenInput(text=a, text_pair=b) for a, b in PAIRS)] if pairs and task not in _BY_TASK else found

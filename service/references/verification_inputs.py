"""The raw inputs that Zoo and the makers' library both answer when a model is pulled."""

from __future__ import annotations

import random
from collections.abc import Mapping

from model_zoo.golden.golden_case import GoldenInput, Noise

_WORDS = (
    "The old lighthouse keeper climbed the winding stairs each evening to light the first lamp. A film was a delight!"
)

TEXTS = (
    "The film was a delight from the first minute to the last.",
    "Ich hätte gern zwei Brötchen, bitte! 🥐",
    "?",
    " ".join(random.Random(18).choices(_WORDS.split(), k=900)),  # noqa: S311 - no secret
    "中film中 was 光delight, 最初のminute",
    "The fi\u0301lm WAS a de\u0301light: cafe\u0301, nai\u0308ve, La\u030amp",
    "the 👨\u200d👩\u200d👧 film 🥐🥐was a ☕\ufe0flamp",
)
"""Plain; with characters beyond ASCII; a single one; one that is longer than most networks take, and that has another beginning
than end wherever it is cut; with ideographs beside letters; with accents as characters of their own, and capitals; with emoji of
several characters. A tokenizer with other settings than the makers' gives other tokens for one of them."""

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
    (TEXTS[4], TEXTS[5]),
)
"""Texts for networks that read two together; of the second pair both are longer than most networks take."""
MASKED = (
    "The keeper climbed the {mask} to light the lamp.",
    "{mask} hätte gern zwei {mask}, bitte! 🥐",
    "{mask}",
    "The old {mask} keeper. " + TEXTS[3],
    "{mask} " + TEXTS[4],
    TEXTS[5] + " {mask}",
)
"""Texts for networks that find masked tokens."""
LABELS = (
    "cat",
    "cup of coffee",
    "Rocket!",
    "lighthouse keeper who climbs the winding stairs",
    "Brötchen 🥐",
    "CAFE\u0301 au lait, nai\u0308ve",
    "中film中, 最初の灯台",
    "👨\u200d👩\u200d👧 with ☕\ufe0f🥐🥐",
    "ﬁlm of \uff23\uff21\uff34, ½ ÉTÉ ΟΔΟΣ",
)
"""Labels for photos: of unlike lengths, with capitals, punctuation and characters beyond ASCII: accents as characters of their
own, ideographs beside letters, emoji of several characters, and characters that stand for others."""
HYPOTHESES = (PAIRS[0], (TEXTS[3], "This text is about a lamp."), (TEXTS[1], "?"), PAIRS[2])
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

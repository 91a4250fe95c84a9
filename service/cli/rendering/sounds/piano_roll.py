"""A piano roll: time from left to right, pitch from bottom to top, a bar for each note, darker for a louder one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from service.client import NoteEvents

KEY_PIXELS = 10
"""Height of a semitone."""
SECOND_PIXELS = 80
MOST_PIXELS = 8000
"""Width of the roll; a longer piece has shorter seconds."""
MARGIN = 44
"""Left of the roll, for the names of notes, and below it, for seconds."""
LEAST_KEYS = 24
_BLACK_KEYS = (1, 3, 6, 8, 10)
_LABEL_PIXELS = 60
"""Least distance of two labels of time."""


def piano_roll(answer: NoteEvents) -> Image.Image:
    """The notes as a picture with the names of all C and a line for each second."""
    from PIL import Image, ImageDraw, ImageFont

    low, high = _range([one.pitch for one in answer.events])
    scale = min(float(SECOND_PIXELS), MOST_PIXELS / max(answer.duration_s, 1.0))
    width, height = max(1, round(answer.duration_s * scale)), (high - low) * KEY_PIXELS
    image = Image.new("RGB", (MARGIN + width + 8, height + MARGIN), "white")
    pen = ImageDraw.Draw(image)
    font: Any = ImageFont.load_default(KEY_PIXELS)
    for pitch in range(low, high):
        bottom = height - (pitch - low) * KEY_PIXELS
        if pitch % 12 in _BLACK_KEYS:
            pen.rectangle((MARGIN, bottom - KEY_PIXELS, MARGIN + width, bottom), fill="#f0f0f0")
        if pitch % 12 == 0:
            pen.line((MARGIN, bottom, MARGIN + width, bottom), fill="#c0c0c0")
            pen.text((8, bottom - KEY_PIXELS - 1), f"C{pitch // 12 - 1}", font=font, fill="black")
    every = max(1, math.ceil(_LABEL_PIXELS / scale))
    for second in range(0, math.floor(answer.duration_s) + 1, every):
        x = MARGIN + second * scale
        pen.line((x, 0, x, height), fill="#dddddd")
        pen.text((x - 4, height + 6), f"{second} s", font=font, fill="black")
    for one in answer.events:
        left, right = (MARGIN + second * scale for second in (one.start_s, one.end_s))
        bottom = height - (one.pitch - low) * KEY_PIXELS
        pale = round(200 * (1.0 - min(1.0, one.amplitude)))
        box = (left, bottom - KEY_PIXELS + 1, max(left + 1, right - 1), bottom - 1)
        pen.rectangle(box, fill=(pale, pale // 2 + 60, 200), outline="#203050")
    return image


def _range(pitches: list[int]) -> tuple[int, int]:
    """Whole octaves that hold all pitches, two at least."""
    low = min(pitches, default=60) // 12 * 12
    high = (max(pitches, default=60) // 12 + 1) * 12
    return low, max(high, low + LEAST_KEYS)

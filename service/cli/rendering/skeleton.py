"""Points of a body and the lines between them, drawn onto a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from service.client import Keypoints

Colour = tuple[int, int, int]

_SIDES = ("left", "right")
_ACROSS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
_LIMBS = (
    ("nose", "{}_eye"),
    ("{}_eye", "{}_ear"),
    ("{}_shoulder", "{}_elbow"),
    ("{}_elbow", "{}_wrist"),
    ("{}_shoulder", "{}_hip"),
    ("{}_hip", "{}_knee"),
    ("{}_knee", "{}_ankle"),
)
LINES = (*_ACROSS, *((first.format(side), second.format(side)) for side in _SIDES for first, second in _LIMBS))
"""Pairs of the points of COCO between which a body has a line."""
_BONE: Colour = (255, 255, 255)


def draw_skeleton(image: Image.Image, answer: Keypoints, colours: Sequence[Colour]) -> None:
    """Draws a line between two points that were both found, and each point in its colour, onto the picture itself."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    radius = max(2, round(min(image.size) / 80))
    # Far beyond the picture nothing is seen, and the pen takes no numbers without end.
    beyond = 4 * max(image.size)
    found = {p.name: (p.x, p.y) for p in answer.points if max(abs(p.x), abs(p.y)) <= beyond}
    for first, second in LINES:
        if first in found and second in found:
            pen.line((*found[first], *found[second]), fill=_BONE, width=max(1, radius // 2))
    for point, colour in zip(answer.points, colours, strict=True):
        if point.name in found:
            x, y = found[point.name]
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=_BONE)

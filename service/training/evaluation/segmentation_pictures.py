"""Held-out pictures with their true and their found masks, for a person to look at."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.datasets.dataset import Example
from service.tasks.image.image_input import decode_image
from service.training.data.regions.masks import NO_CLASS
from service.training.evaluation.mistakes import MAX_PIXELS, ORIGIN_CHARACTERS, Mistake, shorten

PICTURE_PIXELS = 240
"""Of the longer side of each of both pictures."""
OPACITY = 0.55
GAP = 6
GOLDEN_ANGLE = 0.618034
"""Of the circle of hues: neighbours in number are far apart in colour."""


def pictured(
    example: Example,
    index: int,
    found: NDArray[np.integer],
    true: NDArray[np.integer],
    labels: Sequence[str],
    iou: float,
) -> Mistake:
    """A picture twice, with its true mask and with the found one."""
    image = decode_image(getattr(example.instance, "data", b""), MAX_PIXELS, "", PICTURE_PIXELS).image.convert("RGB")
    image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    both = Image.new("RGB", (2 * image.width + GAP, image.height), "white")
    for left, mask in ((0, true), (image.width + GAP, found)):
        both.paste(_covered(image, mask), (left, 0))
    written = io.BytesIO()
    both.save(written, "JPEG", quality=80)
    expected, answer = _names(true, labels), _names(found, labels)
    return Mistake(index, shorten(example.origin, ORIGIN_CHARACTERS), expected, answer, iou, picture=written.getvalue())


def _covered(image: Image.Image, mask: NDArray[np.integer]) -> Image.Image:
    """A picture under the colours of the classes of its mask; pixels without a class keep theirs."""
    whole = Image.fromarray(mask.astype(np.int32)).resize(image.size, Image.Resampling.NEAREST)
    classes = np.array(whole)
    colours = np.array([colour_of(number) for number in range(max(int(classes.max(initial=0)), 0) + 1)])
    pixels = np.asarray(image, np.float64)
    covered = np.where((classes != NO_CLASS)[..., None], (1 - OPACITY) * pixels + OPACITY * colours[classes], pixels)
    return Image.fromarray(covered.round().astype(np.uint8))


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of a class."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_ANGLE % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _names(mask: NDArray[np.integer], labels: Sequence[str]) -> str:
    """The classes of a mask with their shares, the largest first."""
    counts = np.bincount(mask[mask != NO_CLASS].astype(np.int64), minlength=len(labels))
    ordered = sorted(np.flatnonzero(counts).tolist(), key=lambda k: -counts[k])
    return ", ".join(f"{labels[k]} {counts[k] / max(counts.sum(), 1):.0%}" for k in ordered) or "nothing"

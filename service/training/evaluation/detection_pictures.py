"""Held-out pictures with the boxes that a network finds in them beside the true ones, for a person to look at."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.datasets.dataset import Example, LabelledBox
from service.errors import InvalidInput
from service.tasks.image.image_input import decode_image
from service.tasks.image.object_detection import DEFAULT_THRESHOLD
from service.training.evaluation.detection_metrics import CORNERS, HITS, LABEL, SCORE

PICTURE_PIXELS = 320
"""Of the longer side."""
MAX_PIXELS = 50_000_000
TRUE, FOUND = (46, 160, 67), (218, 54, 51)
"""Colours of the boxes."""
INK = (255, 255, 255)
SHOWN_BOXES = 50
"""Of each kind, in a picture."""


def scores_of(outputs: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of the boxes of each picture at the usual threshold of scores and an overlap of 0.5, (pictures,); 1 where there are none
    and none is found."""
    sure = (outputs[..., LABEL] >= 0) & (outputs[..., SCORE] > DEFAULT_THRESHOLD)
    right = (sure * outputs[..., HITS]).sum(axis=1)
    both = sure.sum(axis=1) + targets.sum(axis=1)
    return np.where(both > 0, 2.0 * right / np.maximum(both, 1), 1.0)


def sure_boxes(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The found boxes of a picture whose score is above the usual threshold."""
    return rows[(rows[:, LABEL] >= 0) & (rows[:, SCORE] > DEFAULT_THRESHOLD)]


def names_of(indices: Iterable[int], labels: Sequence[str]) -> str:
    """`2 cat, dog` for the labels of boxes."""
    counts = Counter(indices)
    named = [f"{count} {labels[i]}" if count > 1 else labels[i] for i, count in sorted(counts.items())]
    return ", ".join(named) or "nothing"


def drawn(example: Example, rows: NDArray[np.float64], labels: Sequence[str]) -> bytes:
    """A small JPEG of a picture with its true and its found boxes; empty if the picture cannot be read."""
    try:
        data = getattr(example.instance, "data", b"")
        picture = decode_image(data, MAX_PIXELS, "", PICTURE_PIXELS).image
    except InvalidInput:
        return b""
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture)
    true = [box for box in example.target if isinstance(box, LabelledBox)] if isinstance(example.target, tuple) else []
    for box in true[:SHOWN_BOXES]:
        pen.rectangle(_pixels((box.xmin, box.ymin, box.xmax, box.ymax), picture), outline=TRUE, width=3)
    for row in rows[:SHOWN_BOXES]:
        edges = _pixels(tuple(row[CORNERS].tolist()), picture)
        pen.rectangle(edges, outline=FOUND, width=1)
        text = f"{labels[int(row[LABEL])][:24]} {row[SCORE]:.2f}"
        at = edges[0] + 2, edges[1] + 1
        pen.rectangle(pen.textbbox(at, text), fill=FOUND)
        pen.text(at, text, fill=INK)
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=80)
    return small.getvalue()


def _pixels(corners: Sequence[float], picture: Image.Image) -> tuple[float, float, float, float]:
    width, height = picture.size
    x0, y0, x1, y1 = corners
    return x0 * (width - 1), y0 * (height - 1), max(x0, x1) * (width - 1), max(y0, y1) * (height - 1)

"""The worst mistakes on held-out data, chosen for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.datasets.dataset import Examples
from service.errors import InvalidInput
from service.tasks.image.image_input import decode_image
from service.training.evaluation.evaluate import Predictions, is_classification
from service.training.evaluation.metrics import probabilities
from service.types import ImageInstance, Instance, RecordInstance, RowInstance, TextInstance

MOST = 12
TEXT_CHARACTERS = 400
ORIGIN_CHARACTERS = 120
THUMBNAIL = 160
"""Pixels of the longer side."""
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True)
class Mistake:
    """One held-out example that the model got wrong, the most confident or the largest error first."""

    index: int
    """In the dataset."""
    origin: str
    """File and row it came from."""
    expected: str
    predicted: str
    score: float
    """Probability of the predicted class, or the error in the target's units."""
    text: str = ""
    """What a person can read of the input, cut."""
    picture: bytes = b""
    """A small JPEG of the input, or nothing."""


def worst_mistakes(
    task: str, labels: Sequence[str], held_out: Predictions, examples: Examples, most: int = MOST
) -> list[Mistake]:
    """Classes: those wrong with the greatest probability. Numbers: the largest errors. Other tasks have none to show."""
    if is_classification(task):
        chances = probabilities(held_out.outputs)
        said, targets = held_out.outputs.argmax(axis=1), np.asarray(held_out.targets, np.int64)
        scores = chances.max(axis=1)
        wrong = np.flatnonzero(said != targets)
        worst = wrong[np.argsort(-scores[wrong], kind="stable")][:most].tolist()
        shown = [(labels[targets[i]], labels[said[i]], float(scores[i])) for i in worst]
    elif task in ("text-generation", "time-series-forecasting"):
        return []
    else:
        y = np.asarray(held_out.targets, np.float64).reshape(-1)
        f = np.asarray(held_out.outputs, np.float64).reshape(-1)
        worst = np.argsort(-np.abs(f - y), kind="stable")[:most].tolist()
        shown = [(f"{y[i]:.6g}", f"{f[i]:{'.4g' if abs(f[i]) < 1000 else '.6g'}}", float(f[i] - y[i])) for i in worst]
    found = []
    for i, (expected, predicted, score) in zip(worst, shown, strict=True):
        example = examples[held_out.indices[i]]
        text, picture = readable(example.instance)
        origin = cut(example.origin, ORIGIN_CHARACTERS)
        found.append(Mistake(held_out.indices[i], origin, expected, predicted, score, text, picture))
    return found


def readable(instance: Instance) -> tuple[str, bytes]:
    """What a person can look at: a text, cut, and a small picture."""
    match instance:
        case TextInstance():
            return cut(instance.data.decode("utf-8", "replace"), TEXT_CHARACTERS), b""
        case ImageInstance():
            return "", thumbnail(instance.data)
        case RowInstance():
            cells = ", ".join(f"{name}: {'' if cell is None else cell}" for name, cell in instance.cells.items())
            return cut(cells, TEXT_CHARACTERS), b""
        case RecordInstance():
            parts = [readable(part) for part in instance.parts.values()]
            return " ".join(text for text, _ in parts if text), b"".join(picture for _, picture in parts[:1])
    return "", b""


def thumbnail(data: bytes) -> bytes:
    """An encoded image → a small JPEG; nothing where it cannot be read."""
    try:
        image = decode_image(data, MAX_PIXELS, "", 2 * THUMBNAIL).image
    except InvalidInput:
        return b""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=75)
    return small.getvalue()


def cut(text: str, length: int) -> str:
    """At most so many characters; an ellipsis says that there were more."""
    return text if len(text) <= length else text[: length - 1] + "…"

"""The worst mistakes on held-out data, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.datasets.dataset import Examples
from service.errors import InvalidInput
from service.tasks.image.image_input import decode_image
from service.training.evaluation.detection_metrics import LABEL
from service.training.evaluation.detection_pictures import drawn, names_of, scores_of, sure_boxes
from service.training.evaluation.measurements import Predictions, has_several_classes, is_classification
from service.training.evaluation.metrics import probabilities
from service.training.job_spec import OBJECT_DETECTION, TOKEN_CLASSIFICATION
from service.types import ImageInstance, Instance, RecordInstance, RowInstance, TextInstance, TextPairInstance

MAX_MISTAKES = 12
TEXT_CHARACTERS = 400
ORIGIN_CHARACTERS = 120
THUMBNAIL_PIXELS = 160
"""Of the longer side."""
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True)
class Mistake:
    """One held-out example with a wrong prediction. The field names are keys of `report.json`, except `text` and `picture`."""

    index: int
    """In the dataset."""
    origin: str
    """The file and row of the example."""
    expected: str
    predicted: str
    score: float
    """Probability of the predicted class, or the error in the target's units. Of several classes: how sure it was of the class
    that it wrongly named or left out. Of boxes: F1 in this picture."""
    text: str = ""
    """Readable part of the input, shortened."""
    picture: bytes = b""
    """A small JPEG of the input, or empty."""


def worst_mistakes(
    task: str, labels: Sequence[str], held_out: Predictions, examples: Examples, most: int = MAX_MISTAKES
) -> list[Mistake]:
    """The worst first. Classes: wrong predictions with the highest probability. Numbers: the largest errors. Boxes: pictures with
    the boxes drawn. Other tasks have none."""
    if has_several_classes(task, held_out.targets):
        worst, shown = _worst_sets(labels, held_out, most)
    elif is_classification(task):
        probability = probabilities(held_out.outputs)
        predicted, targets = held_out.outputs.argmax(axis=1), np.asarray(held_out.targets, np.int64)
        scores = probability.max(axis=1)
        wrong = np.flatnonzero(predicted != targets)
        worst = wrong[np.argsort(-scores[wrong], kind="stable")][:most].tolist()
        shown = [(labels[targets[i]], labels[predicted[i]], float(scores[i])) for i in worst]
    elif task == OBJECT_DETECTION:
        return _pictures(labels, held_out, examples, most)
    elif task in ("text-generation", "time-series-forecasting", TOKEN_CLASSIFICATION):
        return []
    else:
        y = np.asarray(held_out.targets, np.float64).reshape(-1)
        f = np.asarray(held_out.outputs, np.float64).reshape(-1)
        worst = np.argsort(-np.abs(f - y), kind="stable")[:most].tolist()
        shown = [(f"{y[i]:.6g}", f"{f[i]:{'.4g' if abs(f[i]) < 1000 else '.6g'}}", float(f[i] - y[i])) for i in worst]
    mistakes = []
    for i, (expected, answer, score) in zip(worst, shown, strict=True):
        example = examples[held_out.indices[i]]
        text, picture = preview(example.instance)
        origin = shorten(example.origin, ORIGIN_CHARACTERS)
        mistakes.append(Mistake(held_out.indices[i], origin, expected, answer, score, text, picture))
    return mistakes


def _pictures(labels: Sequence[str], held_out: Predictions, examples: Examples, most: int) -> list[Mistake]:
    """Of pictures with boxes: those with the lowest F1 of their boxes, with the boxes drawn; right ones too if there are few."""
    outputs, targets = np.asarray(held_out.outputs), np.asarray(held_out.targets)
    scores = scores_of(outputs, targets)
    pictures = []
    for i in np.argsort(scores, kind="stable")[:most].tolist():
        example, rows = examples[held_out.indices[i]], sure_boxes(outputs[i])
        expected = names_of([label for label, count in enumerate(targets[i]) for _ in range(count)], labels)
        found = names_of(rows[:, LABEL].astype(np.int64).tolist(), labels)
        origin, picture = shorten(example.origin, ORIGIN_CHARACTERS), drawn(example, rows, labels)
        pictures.append(Mistake(held_out.indices[i], origin, expected, found, float(scores[i]), picture=picture))
    return pictures


def _worst_sets(
    labels: Sequence[str], held_out: Predictions, most: int
) -> tuple[list[int], list[tuple[str, str, float]]]:
    """Of examples with several classes: those with the surest wrong decision, as (truth, answer, probability)."""
    logits, flags = np.asarray(held_out.outputs, np.float64), np.asarray(held_out.targets) > 0
    named = logits >= 0
    sure = np.exp(-np.logaddexp(0.0, -np.abs(logits)))  # of each decision, 0.5..1
    scores = np.where(named == flags, 0.0, sure).max(axis=1)
    wrong = np.flatnonzero(scores)
    worst: list[int] = wrong[np.argsort(-scores[wrong], kind="stable")][:most].tolist()

    def names(row: NDArray[np.bool_]) -> str:
        return ", ".join(labels[k] for k in np.flatnonzero(row).tolist()) or "no class"

    return worst, [(names(flags[i]), names(named[i]), float(scores[i])) for i in worst]


def preview(instance: Instance) -> tuple[str, bytes]:
    """The part of an input that a person can look at: a shortened text, and a thumbnail."""
    match instance:
        case TextInstance():
            return shorten(instance.data.decode("utf-8", "replace"), TEXT_CHARACTERS), b""
        case TextPairInstance():
            both = [data.decode("utf-8", "replace") for data in (instance.text, instance.text_pair)]
            return "\n— ".join(shorten(text, TEXT_CHARACTERS // 2) for text in both), b""
        case ImageInstance():
            return "", thumbnail(instance.data)
        case RowInstance():
            cells = ", ".join(f"{name}: {'' if cell is None else cell}" for name, cell in instance.cells.items())
            return shorten(cells, TEXT_CHARACTERS), b""
        case RecordInstance():
            parts = [preview(part) for part in instance.parts.values()]
            return " ".join(text for text, _ in parts if text), b"".join(picture for _, picture in parts[:1])
    return "", b""


def thumbnail(data: bytes) -> bytes:
    """An encoded image → a small JPEG; empty if the image cannot be read."""
    try:
        image = decode_image(data, MAX_PIXELS, "", 2 * THUMBNAIL_PIXELS).image
    except InvalidInput:
        return b""
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=75)
    return small.getvalue()


def shorten(text: str, length: int) -> str:
    """The first `length` characters; a longer text ends with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"

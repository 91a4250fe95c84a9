"""The models whose answers an index holds, and what identifies their answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from service.cli.photos.errors import PhotosError

if TYPE_CHECKING:
    from service.client import ModelInfo


class Purpose(StrEnum):
    """What an index has a model's answers for."""

    LABELS = "labels"
    LIKENESS = "likeness"
    """Embeddings that are compared with one another."""
    WORDS = "words"
    """Embeddings that are compared with those of texts."""


TASKS = {
    Purpose.LABELS: "image-classification",
    Purpose.LIKENESS: "image-feature-extraction",
    Purpose.WORDS: "zero-shot-image-classification",
}
"""The task of a model for each purpose, a Hugging Face id."""
READY = "READY"


@dataclass(frozen=True, slots=True)
class IndexModel:
    """One version of a model. Answers of equal ones can be compared."""

    name: str
    version: int
    weights_sha256: str
    """Empty where the server tells none."""
    labels: tuple[str, ...] = ()
    """Of a classifier, in the order of its classes."""


def model_for(purpose: Purpose, info: ModelInfo) -> IndexModel:
    """The version of a served model that calls reach now. Raises PhotosError for a model of another task, for one that does not
    serve, and for a classifier whose classes have no names."""
    if info.task != TASKS[purpose]:
        raise PhotosError(f"{info.name} is a model for {info.task}; expected one for {TASKS[purpose]}")
    if info.state != READY:
        raise PhotosError(f"{info.name} is not loaded; `zoo load {info.name}` loads it")
    if purpose is Purpose.LABELS and not info.labels:
        raise PhotosError(f"the classes of {info.name} have no names, so that no word could find a photo")
    labels = info.labels if purpose is Purpose.LABELS else ()
    return IndexModel(info.name, _version(info), info.weights_sha256, labels)


def _version(info: ModelInfo) -> int:
    """The version that a call without a version reaches, but for a canary's share."""
    return info.traffic.stable or info.aliases.get("stable", 0) or max(info.versions, default=0)

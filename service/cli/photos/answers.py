"""A model's answers as an index keeps them: labels as pairs of class and score, embeddings as float16 vectors of length 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.cli.photos.errors import NoDirection, PhotosError
from service.cli.photos.index_model import IndexModel, Purpose

if TYPE_CHECKING:
    from service.client import Result

TOP_LABELS = 5
"""Labels that are kept of a photo, best first."""
SCORED = np.dtype([("index", "<i4"), ("score", "<f4")])
"""One kept label."""
VECTOR = np.dtype("<f2")
"""Half precision turns a cosine by 0.001 at most, and halves what a search reads."""
IMAGE_EMBEDDING, TEXT_EMBEDDING = "image_embeds", "text_embeds"
"""Outputs of a CLIP-like model: vectors of images and of texts in one space."""
_ANY_LABEL = ("photo",)
"""A model of images and texts needs a text with each image."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked about each photo, and how its answer is kept."""

    purpose: Purpose
    model: IndexModel
    options: Mapping[str, Any]
    """Of `Client.stream_predict`."""
    encode: Callable[[Result], bytes]
    """Raises PhotosError for an answer of another kind."""

    @property
    def call(self) -> dict[str, Any]:
        """Arguments of a call beside the photos. It names the version, so that all answers of an index are of one."""
        return {"version": str(self.model.version) if self.model.version else "", **self.options}


def question(purpose: Purpose, model: IndexModel) -> Question:
    """The question of a purpose."""
    options: dict[Purpose, Mapping[str, Any]] = {
        Purpose.LABELS: {"top_k": TOP_LABELS},
        Purpose.LIKENESS: {},
        Purpose.WORDS: {"candidate_labels": _ANY_LABEL, "include_tensors": True},
    }
    encode: dict[Purpose, Callable[[Result], bytes]] = {
        Purpose.LABELS: _encoded_labels,
        Purpose.LIKENESS: _encoded_embedding,
        Purpose.WORDS: lambda result: unit_vector(output(result, IMAGE_EMBEDDING)).tobytes(),
    }
    return Question(purpose, model, options[purpose], encode[purpose])


def output(result: Result, name: str) -> NDArray[np.float32]:
    """An output tensor of an answer as a vector. Raises PhotosError if the answer has none of that name."""
    if name not in result.outputs:
        raise PhotosError(f"answers of {result.model} have no output {name!r}, so words cannot be compared with photos")
    return np.asarray(result.outputs[name], np.float32).reshape(-1)


def unit_vector(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """A vector of length 1. Raises NoDirection for one of zeros."""
    length = float(np.linalg.norm(values.astype(np.float64)))
    if not np.isfinite(length) or not length:
        raise NoDirection("the model answered with an embedding that has no direction")
    return (values.astype(np.float64) / length).astype(VECTOR)


def labels_of(data: bytes, model: IndexModel) -> list[tuple[str, float]]:
    """Kept labels as names and scores, best first."""
    scored = np.frombuffer(data, SCORED)
    return [(label_name(model, int(one["index"])), float(one["score"])) for one in scored]


def label_name(model: IndexModel, index: int) -> str:
    """The name of a class."""
    return model.labels[index] if index < len(model.labels) else f"class {index}"


def _encoded_labels(result: Result) -> bytes:
    from service.client import Classification

    if not isinstance(result, Classification):
        raise PhotosError(f"{result.model} answered with something else than labels")
    return np.array([(label.index, label.score) for label in result.labels], SCORED).tobytes()


def _encoded_embedding(result: Result) -> bytes:
    from service.client import Embedding

    if not isinstance(result, Embedding):
        raise PhotosError(f"{result.model} answered with something else than an embedding")
    return unit_vector(result.values).tobytes()

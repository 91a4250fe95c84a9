"""What a search compares the photos with: labels of words, the embedding of a photo, or that of words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.cli.photos.answers import TEXT_EMBEDDING, VECTOR, output, question, unit_vector
from service.cli.photos.errors import PhotosError, UnknownWord
from service.cli.photos.index_model import IndexModel, Purpose, model_for
from service.cli.photos.kinds import imagenet_kinds
from service.cli.photos.photo_index import PhotoIndex
from service.cli.photos.ranking import Match, by_labels, by_vector
from service.cli.photos.vocabulary import Vocabulary
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.client import Client, Result

_HOW_TO_FREE_WORDS = (
    "index again with --words-model NAME, a model of the task zero-shot-image-classification such as CLIP"
)
LABEL_THRESHOLD = 0.1
"""Least score of a photo that words find by labels, unless another is asked for."""
MOST_BYTES = 64 << 20
"""Of the photo that others are compared with."""
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel: a CLIP-like model takes no text without an image."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    how: str
    """`labels`, `likeness` or `words`: the purpose of the answers that were compared."""
    score: str
    """What the score is: `probability`, `score` or `cosine`."""
    model: IndexModel
    photos: list[Match]
    note: str = ""


def search_words(
    index: PhotoIndex,
    words: Sequence[str],
    *,
    free: bool,
    top: int,
    threshold: float | None,
    connect: Callable[[], Client],
) -> Found:
    """The photos that fit all words: by their labels, or with `free` by a CLIP-like model, which also decides where a word is in
    no label. Raises PhotosError, ZooClientError."""
    encoder = index.model(Purpose.WORDS)
    if free or (encoder is not None and index.model(Purpose.LABELS) is None):
        if encoder is None:
            raise PhotosError(f"the index has no model for free words; {_HOW_TO_FREE_WORDS}")
        return _by_free_words(index, encoder, words, top, threshold, connect)
    classifier = _model(index, Purpose.LABELS)
    vocabulary = Vocabulary(classifier.labels, imagenet_kinds())
    try:
        terms = vocabulary.terms(words)
    except UnknownWord as unknown:
        if encoder is None:
            raise PhotosError(f"{unknown}; for free words, {_HOW_TO_FREE_WORDS}") from None
        found = _by_free_words(index, encoder, words, top, threshold, connect)
        return Found(found.how, found.score, found.model, found.photos, f"{unknown}; searched by {encoder.name}")
    least = LABEL_THRESHOLD if threshold is None else threshold
    exclusive = vocabulary.is_imagenet
    photos = by_labels(index, classifier, terms, exclusive=exclusive, top=top, threshold=least)
    return Found(Purpose.LABELS, "probability" if exclusive else "score", classifier, photos)


def search_like(
    index: PhotoIndex, photo: Path, *, top: int, threshold: float | None, connect: Callable[[], Client]
) -> Found:
    """The photos that are like a photo, which may be outside the folder; it is not among the results.

    Raises OSError, PhotosError, ZooClientError.
    """
    model = _model(index, Purpose.LIKENESS)
    with photo.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise PhotosError(f"{str(photo)!r} has more than {format_size(MOST_BYTES)}, too much for a photo")
    digest = hashlib.sha256(data).digest()
    kept = index.answer(Purpose.LIKENESS, digest)
    if kept is None:
        with connect() as client:
            asked = question(Purpose.LIKENESS, _as_indexed(client, Purpose.LIKENESS, model))
            kept = asked.encode(_answer(client.predict(model.name, [data], **asked.call)))
    query = np.frombuffer(kept, VECTOR)
    least = -1.0 if threshold is None else threshold
    photos = by_vector(index, Purpose.LIKENESS, query, top=top, threshold=least, without=digest)
    return Found(Purpose.LIKENESS, "cosine", model, photos)


def _by_free_words(
    index: PhotoIndex,
    model: IndexModel,
    words: Sequence[str],
    top: int,
    threshold: float | None,
    connect: Callable[[], Client],
) -> Found:
    with connect() as client:
        query = _text_vector(client, _as_indexed(client, Purpose.WORDS, model), " ".join(words))
    least = -1.0 if threshold is None else threshold
    return Found(Purpose.WORDS, "cosine", model, by_vector(index, Purpose.WORDS, query, top=top, threshold=least))


def _text_vector(client: Client, model: IndexModel, text: str) -> NDArray[np.float16]:
    """The embedding of a text by a CLIP-like model, in the model's default sentence about a label."""
    call = question(Purpose.WORDS, model).call | {"candidate_labels": [text]}
    return unit_vector(output(_answer(client.predict(model.name, [_PIXEL], **call)), TEXT_EMBEDDING))


def _answer(outcomes: Sequence[object]) -> Result:
    from service.client import Result

    [outcome] = outcomes
    if not isinstance(outcome, Result):
        raise PhotosError("the server did not answer")  # `predict` raises the error of a single input
    return outcome


def _model(index: PhotoIndex, purpose: Purpose) -> IndexModel:
    model = index.model(purpose)
    if model is None:
        raise PhotosError(
            f"the index has no answers for {purpose}; `zoo photos index` adds them while a model for it is served"
        )
    return model


def _as_indexed(client: Client, purpose: Purpose, model: IndexModel) -> IndexModel:
    """The model of the server, which must be the one that answered about the photos."""
    served = model_for(purpose, client.model(model.name))
    if served != model:
        raise PhotosError(f"the server has another {model.name} than the index; `zoo photos index` asks it again")
    return served

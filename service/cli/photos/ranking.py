"""The photos of an index by score: exact, a block of answers at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.cli.photos.answers import SCORED, VECTOR, label_name, labels_of
from service.cli.photos.errors import PhotosError
from service.cli.photos.index_model import IndexModel, Purpose
from service.cli.photos.photo_index import Answer, PhotoIndex
from service.cli.photos.vocabulary import Term

Scored = tuple[float, Answer]
_Labels = Callable[[Answer], tuple[tuple[str, float], ...]]
_SHOWN_LABELS = 3
"""Labels beside a photo that another kind of search has found."""


@dataclass(frozen=True, slots=True)
class Match:
    """A photo that was found."""

    name: str
    path: Path
    """Below the folder."""
    score: float
    labels: tuple[tuple[str, float], ...]
    """Names and scores of the labels that matched, or else of the best ones."""


def by_labels(
    index: PhotoIndex, model: IndexModel, terms: Sequence[Term], *, exclusive: bool, top: int, threshold: float
) -> list[Match]:
    """The photos whose labels fit all terms, best first.

    The score of a term is the sum of the scores of its labels where the labels exclude one another, so that it is a probability,
    and otherwise the highest. That of a photo is the lowest of its terms.
    """
    masks = [_mask(term, len(model.labels)) for term in terms]
    wanted = frozenset[int]().union(*(term.classes for term in terms))

    def scored() -> Iterator[Scored]:
        for block in index.blocks(Purpose.LABELS):
            scores = _label_scores(block, masks, exclusive)
            yield from ((float(scores[i]), block[i]) for i in np.flatnonzero(scores >= threshold))

    return _matches(index, scored(), top, lambda answer: _fitting(answer.data, model, wanted))


def by_vector(
    index: PhotoIndex,
    purpose: Purpose,
    query: NDArray[np.float16],
    *,
    top: int,
    threshold: float,
    without: bytes = b"",
) -> list[Match]:
    """The photos whose embeddings have the largest cosine with `query`, a vector of length 1.

    `without`: digest of a photo that is not among the results. Raises PhotosError for embeddings of another length.
    """
    wide = query.astype(np.float32)
    labels = index.model(Purpose.LABELS)

    def scored() -> Iterator[Scored]:
        for block in index.blocks(purpose):
            if any(len(answer.data) != query.nbytes for answer in block):
                raise PhotosError(f"the index has embeddings of another length than {len(query)}; index again")
            vectors = np.frombuffer(b"".join(answer.data for answer in block), VECTOR).reshape(len(block), -1)
            cosines = vectors.astype(np.float32) @ wide
            chosen = np.flatnonzero(cosines >= threshold)
            yield from ((float(cosines[i]), block[i]) for i in chosen if block[i].digest != without)

    def best_labels(answer: Answer) -> tuple[tuple[str, float], ...]:
        kept = index.answer(Purpose.LABELS, answer.digest) if labels is not None else None
        return tuple(labels_of(kept, labels)[:_SHOWN_LABELS]) if kept and labels is not None else ()

    return _matches(index, scored(), top, best_labels)


def _mask(term: Term, count: int) -> NDArray[np.bool_]:
    """Which classes a term stands for; the last place is for a class beyond the labels."""
    mask = np.zeros(count + 1, np.bool_)
    mask[sorted(term.classes)] = True
    return mask


def _label_scores(block: Sequence[Answer], masks: Sequence[NDArray[np.bool_]], exclusive: bool) -> NDArray[np.float64]:
    """The score of each answer of a block."""
    lengths = [len(answer.data) // SCORED.itemsize for answer in block]
    rows = np.repeat(np.arange(len(block)), lengths)
    labels = np.frombuffer(b"".join(answer.data for answer in block), SCORED)
    lowest = np.full(len(block), np.inf)
    for mask in masks:
        fits = mask[np.clip(labels["index"], 0, len(mask) - 1)]
        scores = np.zeros(len(block))
        (np.add if exclusive else np.maximum).at(scores, rows[fits], labels["score"][fits])
        lowest = np.minimum(lowest, scores)
    return lowest


def _fitting(data: bytes, model: IndexModel, wanted: frozenset[int]) -> tuple[tuple[str, float], ...]:
    scored = np.frombuffer(data, SCORED)
    return tuple(
        (label_name(model, int(one["index"])), float(one["score"])) for one in scored if int(one["index"]) in wanted
    )


def _matches(index: PhotoIndex, scored: Iterable[Scored], top: int, labels: _Labels) -> list[Match]:
    """The best answers as photos; copies have a place each."""
    best = heapq.nlargest(top, scored, key=lambda one: (one[0], one[1].digest))
    places = index.places([answer.digest for _, answer in best])
    found = [Match(name, path, score, labels(answer)) for score, answer in best for name, path in places[answer.digest]]
    return sorted(found, key=lambda match: (-match.score, match.name))[:top]

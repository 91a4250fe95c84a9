"""Answers of semantic segmentation: logits of a network, mostly smaller than the image → the class of each pixel of the image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation, SegmentationExpectation
from service.types import Answer, Item, Options, Segmentation, SegmentedClass, Tensors

CHUNK_VALUES = 1 << 21
"""Interpolated logits that are held at once."""
MOST_8_BIT = 256
"""Classes of a mask with 8 bits a pixel."""


class SegmentationAnswers:
    """A mask and its classes, the largest first (the protocol `AnswerCodec`)."""

    options: ClassVar[frozenset[str]] = frozenset()
    light_rows: ClassVar[int] = 0

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._output = card.signature.outputs[0].name

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Segmentation:
        """`[classes, h, w]` logits → a mask of the size of the image as it was sent.

        Takes up to half a minute for a large image whose classes change from pixel to pixel; the card's `max_pixels` bounds it.
        """
        assert item.image_size is not None
        width, height = item.image_size
        classes = class_map(np.asarray(row[self._output], np.float32), (height, width))
        counts = np.bincount(classes.ravel(), minlength=1)
        ordered = sorted(np.flatnonzero(counts).tolist(), key=lambda index: -counts[index])
        found = tuple(SegmentedClass(i, self._name(i), float(counts[i] / classes.size)) for i in ordered)
        return Segmentation(found, png_of(classes, len(row[self._output])), width, height)

    def _name(self, index: int) -> str:
        return self._labels[index] if index < len(self._labels) else str(index)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A class that covers another share of the image."""
        assert isinstance(expect, SegmentationExpectation)
        assert isinstance(answer, Segmentation)
        shares: dict[str, float] = {}
        for one in answer.classes:  # uneven classes of one name count as one
            shares[one.name] = shares.get(one.name, 0.0) + one.share
        for name, share in expect.shares.items():
            if not abs(shares.get(name, 0.0) - share) <= expect.tolerance:
                got = shares.get(name, 0.0)
                return f"expected {name!r} on {share:.1%} of the image, got {got:.1%}; it may differ by {expect.tolerance:.1%}"
        return None


def class_map(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint16]:
    """`[classes, h, w]` logits → the likeliest class of each pixel, `[height, width]`, after bilinear interpolation.

    Computed a strip of rows after another, so that memory is bounded beside the map itself.

    Pixels are aligned as `torch.nn.functional.interpolate` does it with `align_corners=False`. Between four logits with one
    likeliest class that class stays the likeliest, so that only the pixels along borders have to be computed.
    """
    count, h, w = logits.shape
    y0, y1, wy = _neighbours(size[0], h)
    x0, x1, wx = _neighbours(size[1], w)
    values = np.ascontiguousarray(logits.transpose(1, 2, 0))  # (h, w, classes): the logits of a pixel lie together
    best = values.argmax(axis=2).astype(np.uint16)
    found = np.empty(size, np.uint16)
    strip = max(1, CHUNK_VALUES // size[1])
    step = max(1, CHUNK_VALUES // count)
    for top in range(0, size[0], strip):
        above, under = y0[top : top + strip, None], y1[top : top + strip, None]
        part = best[above, x0]
        mixed = (part != best[above, x1]) | (part != best[under, x0]) | (part != best[under, x1])
        rows, columns = np.nonzero(mixed)
        for start in range(0, len(rows), step):
            y, x = rows[start : start + step] + top, columns[start : start + step]
            right, below = wx[x][:, None], wy[y][:, None]
            upper = values[y0[y], x0[x]] * (1 - right) + values[y0[y], x1[x]] * right
            lower = values[y1[y], x0[x]] * (1 - right) + values[y1[y], x1[x]] * right
            part[y - top, x] = (upper * (1 - below) + lower * below).argmax(axis=1)
        found[top : top + strip] = part
    return found


def _neighbours(size: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of `size` pixels: the two of `length` logits beside it, and the weight of the second."""
    at = np.maximum((np.arange(size) + 0.5) * (length / size) - 0.5, 0.0)
    first = np.minimum(at.astype(np.intp), length - 1)
    return first, np.minimum(first + 1, length - 1), (at - first).astype(np.float32)


def png_of(classes: NDArray[np.integer[Any]], count: int) -> bytes:
    """A grey PNG whose pixels are classes, of 8 bits each, or of 16 where there are more than 256 classes."""
    written = io.BytesIO()
    Image.fromarray(classes.astype(np.uint8 if count <= MOST_8_BIT else np.uint16)).save(written, "PNG")
    return written.getvalue()

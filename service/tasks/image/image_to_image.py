"""Task `image-to-image`: an image → another image, such as a filtered or a larger one, by the WholeImageRecipe of the card.

Rows keep their own sizes. They are never padded, since a convolution would read the padding beside the edge; only rows of one
size share a batch (`Task.groups`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import WholeImageRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, ImageExpectation, golden_path
from model_zoo.golden.seeded_tensors import spread
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.image.filter_kernels import KERNEL_OPTIONS, Kernel, check_kernel, kernel_of
from service.tasks.image.image_input import OVERSAMPLING, decode_image
from service.tasks.image.pixels import PIXELS
from service.tasks.instances import read_each, reject_kind
from service.types import (
    Answer,
    Array,
    FilteredImageInstance,
    ImageInstance,
    Instance,
    Item,
    Options,
    TensorInstance,
    Tensors,
    TransformedImage,
)

KERNEL, OFFSET = "kernel", "offset"
"""Inputs beside `pixels`, of a network that takes a kernel with each image."""
SIZE = "size"
"""Output: height and width, for callers of several rows, whose images are padded to the largest."""
COMPRESSION = 3
"""Of PNG, 0 to 9. A photo takes a third of the time that the default, 6, takes, and about 3 % more bytes."""
WARM_UP_SIDE = 32


class ImageToImage(Task):
    """Another image, as a PNG."""

    options = frozenset(KERNEL_OPTIONS)
    raw_types: tuple[type, ...] = (ImageInstance, FilteredImageInstance)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        """Raises TypeError for a card with another kind of recipe."""
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, WholeImageRecipe):
            raise TypeError(f"card {card.name} has no recipe of whole images")
        self._recipe, self._output = card.recipe, card.signature.outputs[0].name
        self._kernels = card.recipe.kernels
        self.expands = bool(self._kernels)
        if not self._kernels:
            self.options, self.raw_types = frozenset(), (ImageInstance,)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, options: Options) -> None:
        """As every task, and whether there is such a kernel."""
        super().check(options)
        if self._kernels:
            kernel_of(self._kernels, options)

    def expand(self, instance: Instance, options: Options, path: str) -> Instance | None:
        """The image with the kernel of the options; None for other instances."""
        if not isinstance(instance, ImageInstance):
            return None
        return FilteredImageInstance(instance.data, *kernel_of(self._kernels, options))

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Encoded images → `[height, width, 3]` uint8."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        kernel: Kernel | None
        if isinstance(instance, FilteredImageInstance) and self._kernels:
            kernel = Kernel(instance.kernel, instance.offset)
        elif isinstance(instance, ImageInstance):
            kernel = kernel_of(self._kernels, Options()) if self._kernels else None
        else:
            raise reject_kind(self.card, instance, path)
        image, reduced = self._decoded(instance.data, path)
        notes = {"reduced": True, "width": image.width, "height": image.height} if reduced else {}
        tensors: dict[str, Array] = {PIXELS: np.asarray(image)}
        if kernel is not None:
            tensors |= {KERNEL: kernel.numbers, OFFSET: np.array([kernel.offset], np.float32)}
        return Item(tensors, notes=notes, image_size=image.size)

    def _decoded(self, data: bytes, path: str) -> tuple[Image.Image, bool]:
        """The upright RGB image as the network gets it, and whether it was reduced."""
        recipe = self._recipe
        # No image that is left as it is has a shorter side of so many pixels, so that none is decoded at a smaller scale.
        shorter = OVERSAMPLING * math.isqrt(recipe.fit_pixels) if recipe.fit_pixels else 0
        decoded = decode_image(data, recipe.max_pixels, path, shorter)
        size = reduced_size(decoded.size, recipe.most_pixels)
        if size == decoded.size:
            return decoded.image, False
        # At a smaller scale a last, incomplete block of the image is a whole pixel; the box leaves the excess out.
        (x, y), (width, height) = decoded.corner, decoded.size
        right = min(x + width / decoded.scale, float(decoded.image.width))
        bottom = min(y + height / decoded.scale, float(decoded.image.height))
        return decoded.image.resize(size, Image.Resampling.BICUBIC, box=(x, y, right, bottom)), True

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task; refuses an image that is too large, and a kernel without bounds."""
        item = super().row(instance, path)
        height, width = item.tensors[PIXELS].shape[:2]
        most = self._recipe.most_pixels
        if not 1 <= height * width <= most:
            raise InvalidInput(f"{path}.{PIXELS}", f"expected 1 to {most:,} pixels, got {width:,} × {height:,}")
        if self._kernels:
            check_kernel(item.tensors[KERNEL], item.tensors[OFFSET], path, (KERNEL, OFFSET))
        return item

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Rows of one size together."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, item in enumerate(items):
            by_shape.setdefault(item.tensors[PIXELS].shape, []).append(i)
        return list(by_shape.values())

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows; `size` `[2]` has the height and the width of each."""
        return [{**row, SIZE: np.array(row[self._output].shape[:2], np.int64)} for row in super().split(outputs, items)]

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def postprocess(self, row: Tensors, item: Item, options: Options) -> TransformedImage:
        """`[height, width, 3]` uint8 → a PNG."""
        pixels = np.asarray(row[self._output], np.uint8)
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "PNG", compress_level=COMPRESSION)
        return TransformedImage(written.getvalue(), pixels.shape[1], pixels.shape[0])

    # ── golden cases ─────────────────────────────────────────────────────────────────────────────────────────────

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The photo of a golden case, with its kernel."""
        assert given.file is not None
        image = ImageInstance(golden_path(given.file).read_bytes())
        if not self._kernels:
            return image
        return FilteredImageInstance(image.data, *kernel_of(self._kernels, Options(kernel=given.kernel or None)))

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another size, or a value that is off by more than the tolerance."""
        assert isinstance(expect, ImageExpectation)
        assert isinstance(answer, TransformedImage)
        if (answer.width, answer.height) != (expect.width, expect.height):
            return f"expected {expect.width} × {expect.height} pixels, got {answer.width} × {answer.height}"
        with Image.open(io.BytesIO(answer.image), formats=["PNG"]) as opened:
            values: Any = spread(np.asarray(opened))
        if values.shape != (len(expect.values),):
            return f"expected {len(expect.values)} values, got {len(values)}"
        off = float(np.abs(values - np.asarray(expect.values)).max(initial=0.0))
        return None if off <= expect.tolerance else f"a value is off by {off:g}; allowed is {expect.tolerance:g}"

    def warmup_item(self) -> Item:
        """A small black image."""
        tensors: dict[str, Array] = {PIXELS: np.zeros((WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8)}
        if self._kernels:
            kernel = kernel_of(self._kernels, Options())
            tensors |= {KERNEL: kernel.numbers, OFFSET: np.array([kernel.offset], np.float32)}
        return Item(tensors, image_size=(WARM_UP_SIDE, WARM_UP_SIDE))


def reduced_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Width and height of an image in its proportions with at most `most` pixels; each is at least 1."""
    width, height = size
    if width * height <= most:
        return size
    scale = math.sqrt(most / (width * height))
    # Rounded down, the product is no more than `most`, unless one side is the single line that is left of it.
    return min(most, max(1, int(width * scale))), min(most, max(1, int(height * scale)))

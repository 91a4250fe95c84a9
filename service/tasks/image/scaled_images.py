"""Photos that keep their proportions → normalised pixels, by the ScaledImageRecipe of the card.

Rows differ in size. A network that is given a padded image answers a little differently than for the image alone, even where it
gets a mask: its convolutions read the padding beside the edge. So rows are never padded, and only rows of equal size share a
batch (`Task.groups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ScaledImageRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, golden_path
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.codecs import AnswerCodec
from service.tasks.image.image_input import OVERSAMPLING, decode_image
from service.tasks.image.pixels import normalisation
from service.tasks.instances import read_each, reject_kind
from service.types import Answer, ImageInstance, Instance, Item, Options, TensorInstance, Tensors


class ScaledImages(Task):
    """A task on images that keep their proportions."""

    raw_types = (ImageInstance,)

    def __init__(
        self,
        answers: type[AnswerCodec],
        card: Card,
        labels: Sequence[str] = (),
        files: Mapping[str, Path] = NO_FILES,
    ) -> None:
        """Raises TypeError for a card with another kind of recipe."""
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, ScaledImageRecipe):
            raise TypeError(f"card {card.name} has no recipe of scaled images")
        self._recipe = card.recipe
        self._input = card.signature.inputs[0].name
        self._scale, self._shift = normalisation(card.recipe)
        self.answers = answers(card, self.labels)
        self.options, self.light_rows = self.answers.options, self.answers.light_rows

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Encoded images → `[3, height, width]` float32, normalised."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        if not isinstance(instance, ImageInstance):
            raise reject_kind(self.card, instance, path)
        recipe = self._recipe
        decoded = decode_image(instance.data, recipe.max_pixels, path, OVERSAMPLING * recipe.shortest_edge)
        width, height = scaled_size(decoded.size, recipe)
        if min(width, height) < 1:
            shown = f"{decoded.size[0]:,} × {decoded.size[1]:,}"
            raise InvalidInput(path, f"is too narrow for its length: {shown} pixels")
        method = Image.Resampling.BICUBIC if recipe.interpolation == "bicubic" else Image.Resampling.BILINEAR
        resized = decoded.image.resize((width, height), method, box=decoded.extent)
        pixels = np.asarray(resized).transpose(2, 0, 1) * self._scale[:, None, None]
        pixels += self._shift[:, None, None]
        return Item({self._input: pixels}, image_size=decoded.size)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task; refuses an image that no photo would give."""
        item = super().row(instance, path)
        sides = item.tensors[self._input].shape[1:]
        least, most = self._recipe.multiple_of, self._recipe.longest_edge
        if not least <= min(sides) <= max(sides) <= most:
            raise InvalidInput(
                f"{path}.{self._input}", f"expected sides of {least} to {most} pixels, got {list(sides)}"
            )
        return item

    def groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Rows of one size together."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, item in enumerate(items):
            by_shape.setdefault(item.tensors[self._input].shape, []).append(i)
        return list(by_shape.values())

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """As the answer codec writes it."""
        return self.answers.postprocess(row, item, options)

    def warmup_item(self) -> Item:
        """An image of one colour, square."""
        side = self._recipe.shortest_edge // self._recipe.multiple_of * self._recipe.multiple_of
        return Item({self._input: np.zeros((3, side, side), np.float32)}, image_size=(side, side))

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The photo of a golden case."""
        assert given.file is not None
        return ImageInstance(golden_path(given.file).read_bytes())

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """See `AnswerCodec`."""
        return self.answers.golden_texts(expect)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `AnswerCodec`."""
        return self.answers.golden_problem(expect, answer, answer_of)


def scaled_size(size: tuple[int, int], recipe: ScaledImageRecipe) -> tuple[int, int]:
    """Width and height of an image after it is resized.

    The shorter side becomes `shortest_edge`, or less where the longer one would exceed `longest_edge`; both are rounded as
    DETR's own code rounds them.
    """
    short, long = sorted(size)
    side, exact = recipe.shortest_edge, float(recipe.shortest_edge)
    if long / short * side > recipe.longest_edge:
        exact = recipe.longest_edge * short / long
        side = round(exact)
    multiple = recipe.multiple_of
    other = long if short == side and multiple == 1 else int(exact * long / short)
    side, other = side // multiple * multiple, other // multiple * multiple
    return (side, other) if size[0] < size[1] else (other, side)

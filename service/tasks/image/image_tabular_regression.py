"""Task `image-tabular-regression`: a photo and a row of a table → a number, by the RecordRecipe of the card.

A network that was tuned on records gets the photo, and its head the backbone's features followed by the row's columns. A network
that has learned from both itself gets both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RecordRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.image.image_input import ImageInput
from service.tasks.instances import reject_kind
from service.tasks.regression import NumberAnswers
from service.tasks.tabular.row_input import (
    COLUMNS,
    columns_of,
    columns_width,
    row_notes,
)
from service.types import (
    Answer,
    ImageInstance,
    Instance,
    Item,
    Options,
    RecordInstance,
    Regression,
    RowInstance,
    Tensors,
)


def record_inputs(recipe: RecordRecipe, image: TensorSpec) -> tuple[TensorSpec, ...]:
    """Input tensors of a network on a base that takes `image`; without `columns` for a table that has only the target."""
    width = columns_width(recipe.row)
    return (image, TensorSpec(name=COLUMNS, datatype="FP32", shape=(-1, width))) if width else (image,)


class ImageTabularRegression(Task):
    """A number for a photo and a row together, or for the photo alone if the model has no columns."""

    light_rows = 64
    raw_types = (RecordInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, RecordRecipe):
            raise TypeError(f"card {card.name} has no recipe of records")
        self._recipe = card.recipe
        self._answers = NumberAnswers(card, labels)
        photo_signature = card.signature.model_copy(update={"inputs": card.signature.inputs[:1]})
        self._photos = ImageInput(
            card.model_copy(update={"recipe": card.recipe.image, "raw_input": "image", "signature": photo_signature})
        )

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Records → the photo's tensor and `columns`, float32 `[columns]`."""
        return [self._read(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _read(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, RecordInstance):
            return reject_kind(self.card, instance, path)
        try:
            photo, row = _parts(instance, bool(self._recipe.row.numbers or self._recipe.row.categories), path)
            columns = columns_of(self._recipe.row, row.cells, path)
        except InvalidInput as error:
            return error
        [item] = self._photos.preprocess([photo], [f"{path}.image"])
        if isinstance(item, ZooError):
            return item
        tensors = {**item.tensors, COLUMNS: columns}
        return Item({name: tensors[name] for name in self._specs}, notes=row_notes(self._recipe.row, row.cells))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Regression:
        """`[1]` in standard deviations of the target → the number and its interval."""
        return self._answers.postprocess(row, item, options)

    def warmup_item(self) -> Item:
        """A photo of one colour and a row of means and unknown categories."""
        return Item({name: np.zeros(shape, dtype) for name, (_, dtype, shape) in self._specs.items()})

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The photo and the row of a golden case."""
        return RecordInstance({"image": self._photos.golden_instance(given), "row": RowInstance(given.row or {})})

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A number that is too far off."""
        return self._answers.golden_problem(expect, answer, answer_of)


def _parts(record: RecordInstance, needs_row: bool, path: str) -> tuple[ImageInstance, RowInstance]:
    for name in record.parts:
        if name not in ("image", "row"):
            shown = name if len(name) <= 64 else f"{name[:63]}…"
            raise InvalidInput(f"{path}.{shown}", "a record has an image and a row, and nothing else")
    photo = record.parts.get("image")
    row = record.parts.get("row", None if needs_row else RowInstance({}))
    if not isinstance(photo, ImageInstance):
        raise InvalidInput(f"{path}.image", f"expected an encoded image, got {_kind(photo)}")
    if not isinstance(row, RowInstance):
        raise InvalidInput(f"{path}.row", f"expected a row of a table, got {_kind(row)}")
    return photo, row


def _kind(part: Instance | None) -> str:
    return "none" if part is None else "something else"

"""Tasks `tabular-classification` and `tabular-regression`: a row of a table → labels, or a number, by the card's RowRecipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RowRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.codecs import AnswerCodec
from service.tasks.instances import reject_kind
from service.tasks.tabular.row_input import CATEGORIES, NUMBERS, encode_row, row_arguments, row_notes
from service.types import Answer, Array, Instance, Item, Options, RowInstance, TensorInstance, Tensors


class TabularPrediction(Task):
    """Labels or a number for each row; the answer codec decides which."""

    chunk = 32
    raw_types = (RowInstance,)

    def __init__(
        self,
        answers: type[AnswerCodec],
        card: Card,
        labels: Sequence[str] = (),
        files: Mapping[str, Path] = NO_FILES,
    ) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, RowRecipe):
            raise TypeError(f"card {card.name} has no recipe of rows")
        self.answers = answers(card, self.labels)
        self.options, self.light_rows = self.answers.options, self.answers.light_rows
        self._recipe = card.recipe
        self._sizes = np.array(row_arguments(card.recipe)["categories"], np.int64)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Rows → `numbers` float32 `[n]` and `categories` int64 `[m]`; a table may lack one of them."""
        return [self._read(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _read(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, RowInstance):
            return reject_kind(self.card, instance, path)
        try:
            numbers, categories = encode_row(self._recipe, instance.cells, path)
        except InvalidInput as error:
            return error
        tensors: dict[str, Array] = {NUMBERS: numbers, CATEGORIES: categories}
        notes = row_notes(self._recipe, instance.cells)
        return Item({name: tensors[name] for name in self._specs}, notes=notes)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item; refuses the position of a category that does not exist, which would read past the embedding table."""
        item = super().row(instance, path)
        if CATEGORIES in instance.tensors:
            positions = np.asarray(instance.tensors[CATEGORIES], np.int64)
            wrong = np.flatnonzero((positions < 0) | (positions >= self._sizes))
            if wrong.size:
                at = int(wrong[0])
                expected = f"expected 0..{self._sizes[at] - 1}, got {positions[at]}"
                raise InvalidInput(f"{path}.{CATEGORIES}[{at}]", expected)
        return item

    def warmup_item(self) -> Item:
        """A row of means and unknown categories."""
        return Item({name: np.zeros(shape, dtype) for name, (_, dtype, shape) in self._specs.items()})

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The row of a golden case."""
        assert given.row is not None
        return RowInstance(given.row)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """As the answer codec judges it."""
        return self.answers.golden_problem(expect, answer, answer_of)

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """As the answer codec writes it."""
        return self.answers.postprocess(row, item, options)

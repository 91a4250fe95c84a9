"""Tasks `tabular-classification` and `tabular-regression`: a row of a table → labels, or a number. Recipe: RowRecipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RowRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.answers import best_labels, number_of
from service.tasks.base import NO_FILES, Task, reject_kind
from service.tasks.tabular.row_input import (
    CATEGORIES,
    NUMBERS,
    columns_of,
    encode_row,
    row_arguments,
    row_inputs,
    row_notes,
)
from service.types import Answer, Array, Instance, Item, Options, RowInstance, TensorInstance, Tensors

__all__ = ["TabularClassification", "TabularRegression", "columns_of", "encode_row", "row_arguments", "row_inputs"]


class _Tabular(Task):
    """What both do with a row."""

    chunk: ClassVar[int] = 32
    light_rows: ClassVar[int] = 2
    raw_types: ClassVar[tuple[type, ...]] = (RowInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, RowRecipe):
            raise TypeError(f"card {card.name} has no recipe of rows")
        self._recipe = card.recipe
        self._sizes = np.array(row_arguments(card.recipe)["categories"], np.int64)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Rows → `numbers` float32 `[n]` and `categories` int64 `[m]`, of which a table may lack one."""
        return [self._one(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _one(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, RowInstance):
            return reject_kind(self, instance, path)
        try:
            numbers, categories = encode_row(self._recipe, instance.cells, path)
        except InvalidInput as error:
            return error
        tensors: dict[str, Array] = {NUMBERS: numbers, CATEGORIES: categories}
        notes = row_notes(self._recipe, instance.cells)
        return Item({name: tensors[name] for name in self._specs}, notes=notes)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item; a position that a category does not have would read past the embedding table."""
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
        """None: a network without weights has no golden case, and a tuned one has tensors."""
        raise NotImplementedError(self.card.name)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `golden_instance`."""
        raise NotImplementedError(self.card.name)


class TabularClassification(_Tabular):
    """Labels for rows, best first."""

    options: ClassVar[frozenset[str]] = frozenset({"top_k", "threshold"})

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """`[classes]` logits → labels."""
        return best_labels(row[self.card.signature.outputs[0].name], self.labels, options)


class TabularRegression(_Tabular):
    """A number for each row."""

    light_rows: ClassVar[int] = 64

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """`[1]` in units of the target's spread → the number and its interval."""
        return number_of(row[self.card.signature.outputs[0].name], self.card.target)

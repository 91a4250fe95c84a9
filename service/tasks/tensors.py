"""Models of tensors only: callers send the inputs of the network, and get its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, OutputValues, TensorsExpectation
from model_zoo.golden.seeded_tensors import seeded_tensors, spread
from service.errors import InvalidInput, ZooError
from service.rounding import format_against
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import read_each, reject_kind
from service.tasks.masked_sequence import pad_stack
from service.types import Answer, Array, Instance, Item, Options, OutputTensors, TensorInstance, Tensors


class TensorsTask(Task):
    """Rows of tensors by the names and axes of the network's file."""

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        """Raises TypeError for a card with another kind of recipe."""
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, TensorsRecipe):
            raise TypeError(f"card {card.name} has no recipe of tensors")
        self._recipe = card.recipe
        # Where padding was seen to change an answer, a batch has one row, and the mask is an input like any other.
        self._mask = card.batching.length_of
        self._cut = frozenset(card.recipe.cut if self._mask else ())

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Tensors alone are accepted."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        if not isinstance(instance, TensorInstance):
            raise reject_kind(self.card, instance, path)
        return self.row(instance, path)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task and those of varying axes and of positions in tables."""
        item = super().row(instance, path)
        tensors, recipe = instance.tensors, self._recipe
        seen: dict[str, tuple[str, int]] = {}
        longest = 1
        for name, axes in recipe.axes.items():
            for axis, size in zip(axes, tensors[name].shape, strict=True):
                if not axis:
                    continue
                if not 1 <= size <= (recipe.max_length or size):
                    raise InvalidInput(
                        f"{path}.{name}", f"expected 1 to {recipe.max_length} along the axis {axis!r}, got {size}"
                    )
                other, expected = seen.setdefault(axis, (name, size))
                if size != expected:
                    raise InvalidInput(
                        f"{path}.{name}", f"expected {expected} along the axis {axis!r} as {other} has, got {size}"
                    )
                longest = max(longest, size)
        if self._mask:
            self._check_mask(tensors[self._mask], f"{path}.{self._mask}")
        for name, length in recipe.positions.items():
            self._check_positions(tensors[name], length, f"{path}.{name}")
        return Item(tensors, longest) if longest > 1 else item

    @staticmethod
    def _check_positions(array: Array, length: int, path: str) -> None:
        """Positions count from the start of a table, or back from its end below 0."""
        if not array.size:
            return
        low, high = int(array.min()), int(array.max())
        if low < -length or high >= length:
            raise InvalidInput(path, f"expected numbers below {length:,}, got {high if high >= length else low:,}")

    @staticmethod
    def _check_mask(mask: Array, path: str) -> None:
        if not mask.any() or int(mask.min()) < 0 or int(mask.max()) > 1:
            raise InvalidInput(path, "expected zeros and ones, with at least one 1")

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → one batch. Where the network has a mask, shorter rows are padded with zeros, and so is the mask."""
        if not self._mask:
            return super().collate(items, least_length)
        longest = max(least_length, *(item.length for item in items))
        batch = {
            name: pad_stack([item.tensors[name] for item in items], longest, 0)
            if name in self._recipe.axes
            else np.stack([item.tensors[name] for item in items])
            for name in self._specs
        }
        return batch, 1.0 - sum(item.length for item in items) / (longest * len(items))

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows, in order, without what padding added. Raises RuntimeError when an output has another number
        of rows."""
        for name, array in outputs.items():
            if not array.ndim or len(array) != len(items):
                raise RuntimeError(f"output {name} has the shape {array.shape} for {len(items)} items")
        return [
            {name: array[i, : item.length] if name in self._cut else array[i, ...] for name, array in outputs.items()}
            for i, item in enumerate(items)
        ]

    def postprocess(self, row: Tensors, item: Item, options: Options) -> OutputTensors:
        """The outputs as they are."""
        return OutputTensors(row)

    def warmup_item(self) -> Item:
        """The row of the first seed."""
        return self.row(TensorInstance(seeded_tensors(self.card.signature.inputs, self._recipe, 0)), "warm-up")

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The row of a seed."""
        assert given.seed is not None
        return TensorInstance(seeded_tensors(self.card.signature.inputs, self._recipe, given.seed))

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """The first output with another shape, or with a value that is off by more than the tolerance."""
        assert isinstance(expect, TensorsExpectation)
        assert isinstance(answer, OutputTensors)
        for name, expected in expect.outputs.items():
            if (problem := _problem(answer.tensors.get(name), expected)) is not None:
                return f"the output {name!r} {problem}"
        return None


def _problem(array: Array | None, expected: OutputValues) -> str | None:
    if array is None or array.shape != expected.shape:
        got = "is missing" if array is None else f"has the shape {list(array.shape)}"
        return f"{got}; expected {list(expected.shape)}"
    error = float(np.abs(spread(array) - np.asarray(expected.values)).max(initial=0.0))
    if not error <= expected.tolerance:
        got, allowed = format_against(error, expected.tolerance)
        return f"is off by {got}, allowed is {allowed}"
    return None

"""Sequences of different lengths that share a batch under a mask: tokens, characters, windows of sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.types import Array, Item, TensorInstance

TOKEN_TYPES = "token_type_ids"  # noqa: S105 - no password
"""The input that says of each token which text of a pair it belongs to."""


class MaskedSequence:
    """The input tensors of a network for sequences: the sequence, its mask with 1 for elements and 0 for padding, and perhaps a
    number for each element that says which text of a pair it belongs to."""

    def __init__(
        self,
        card: Card,
        fill: float = 0,
        ids: int | None = None,
        *,
        types: int = 1,
        marks: tuple[int, int] | None = None,
        left: bool = False,
    ) -> None:
        """
        Args:
            fill: the value of padding.
            ids: the number of ids, for a sequence of ids.
            types: the number of texts that it tells apart.
            marks: an id that every sequence has, and how many it has at most; outputs have a value for each of them.
            left: whether shorter rows are padded at their beginning.
        """
        self.name, self.mask, *others = (spec.name for spec in card.signature.inputs)
        self.types = TOKEN_TYPES if TOKEN_TYPES in others else None
        """The input with the numbers of texts; None for a network without it."""
        self.fill, self.ids, self.left = fill, ids, left
        self._type_count, self._marks = types, marks

    def item(
        self,
        sequence: Array,
        notes: Mapping[str, str | int | float | bool] | None = None,
        types: NDArray[np.int64] | None = None,
    ) -> Item:
        """The item of a sequence `[n, …]` without padding. `types` `[n]`: see `types`; zeros where they are not given."""
        tensors = {self.name: sequence, self.mask: np.ones(len(sequence), np.int64)}
        if self.types is not None:
            tensors[self.types] = np.zeros(len(sequence), np.int64) if types is None else types
        return Item(tensors, len(sequence), notes or {})

    def check(self, instance: TensorInstance, path: str) -> None:
        """Raises InvalidInput for a mask that does not fit, or an id without an embedding, which would read past the table."""
        tensors = instance.tensors
        sequence, mask = tensors[self.name], tensors[self.mask]
        for name in (self.mask, self.types):
            if name is not None and len(tensors[name]) != len(sequence):
                raise InvalidInput(
                    f"{path}.{name}", f"expected {len(sequence)} elements as {self.name} has, got {len(tensors[name])}"
                )
        if self.ids is not None:
            _check_range(sequence, self.ids, "token ids", f"{path}.{self.name}")
        if self.types is not None:
            _check_range(tensors[self.types], self._type_count, "token types", f"{path}.{self.types}")
        if self._marks is not None:
            mark, most = self._marks
            count = int((sequence == mark).sum())
            if not 1 <= count <= most:
                raise InvalidInput(f"{path}.{self.name}", f"expected 1 to {most} masks (token {mark}), got {count}")
        if not mask.any() or int(mask.min()) < 0 or int(mask.max()) > 1:
            raise InvalidInput(f"{path}.{self.mask}", "expected zeros and ones, with at least one 1")

    def output_length(self, item: Item) -> int:
        """How many values an output with a variable axis has for an item: one for each element, or for each mark."""
        return item.length if self._marks is None else int((item.tensors[self.name] == self._marks[0]).sum())

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest, …]`, at least `least_length` long, and the padded share of the batch (0..1)."""
        longest = max(least_length, *(item.length for item in items))
        fills = {self.name: self.fill, self.mask: 0}
        if self.types is not None:
            fills[self.types] = 0
        batch = {
            name: pad_stack([i.tensors[name] for i in items], longest, fill, left=self.left)
            for name, fill in fills.items()
        }
        return batch, 1.0 - sum(item.length for item in items) / (longest * len(items))


def pad_stack(rows: Sequence[Array], length: int, fill: float, *, left: bool = False) -> Array:
    """Rows of different lengths → `[len(rows), length, …]`, each padded with `fill` at its end, or at its beginning."""
    batch = np.full((len(rows), length, *rows[0].shape[1:]), fill, rows[0].dtype)
    for i, row in enumerate(rows):
        start = length - len(row) if left else 0
        batch[i, start : start + len(row)] = row
    return batch


def _check_range(numbers: Array, count: int, what: str, path: str) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= count:
        raise InvalidInput(path, f"expected {what} in 0..{count - 1}, got {low if low < 0 else high}")

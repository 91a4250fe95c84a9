"""Sequences of different lengths that share a batch under a mask: tokens, characters, windows of sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_zoo.cards.card import Card
from service.errors import InvalidInput
from service.types import Array, Item, TensorInstance


class MaskedSequence:
    """The two input tensors of a network for sequences: the sequence, and its mask with 1 for elements and 0 for padding."""

    def __init__(self, card: Card, fill: float = 0, ids: int | None = None, *, left: bool = False) -> None:
        """`fill`: the value of padding. `ids`: how many ids there are, for a sequence of ids. `left`: whether shorter rows are
        padded at their beginning."""
        self.name, self.mask = (spec.name for spec in card.signature.inputs[:2])
        self.fill, self.ids, self.left = fill, ids, left

    def item(self, sequence: Array, notes: Mapping[str, str | int | float | bool] | None = None) -> Item:
        """The item of a sequence `[n, …]` without padding."""
        return Item({self.name: sequence, self.mask: np.ones(len(sequence), np.int64)}, len(sequence), notes or {})

    def check(self, instance: TensorInstance, path: str) -> None:
        """Raises InvalidInput for a mask that does not fit, or an id without an embedding, which would read past the table."""
        sequence, mask = instance.tensors[self.name], instance.tensors[self.mask]
        if len(sequence) != len(mask):
            raise InvalidInput(
                f"{path}.{self.mask}", f"expected {len(sequence)} elements as {self.name} has, got {len(mask)}"
            )
        if self.ids is not None:
            low, high = int(sequence.min()), int(sequence.max())
            if low < 0 or high >= self.ids:
                wrong = low if low < 0 else high
                raise InvalidInput(f"{path}.{self.name}", f"expected token ids in 0..{self.ids - 1}, got {wrong}")
        if not mask.any() or int(mask.min()) < 0 or int(mask.max()) > 1:
            raise InvalidInput(f"{path}.{self.mask}", "expected zeros and ones, with at least one 1")

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest, …]`, at least `least_length` long, and the padded share of the batch (0..1)."""
        longest = max(least_length, *(item.length for item in items))
        fills = {self.name: self.fill, self.mask: 0}
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

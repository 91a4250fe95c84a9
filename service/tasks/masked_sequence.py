"""Rows of unlike lengths that ride together under a mask: tokens, characters, windows of sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task, pad_stack, reject_kind
from service.types import Array, Instance, Item, TensorInstance, TextInstance


class MaskedSequence(Task):
    """Takes a sequence and its mask: 1 for what counts, 0 for padding."""

    fill: float = 0
    """What padding is made of."""
    ids: int | None = None
    """How many ids there are, where the sequence is one of ids."""

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        self.sequence, self.mask = (spec.name for spec in card.signature.inputs[:2])

    def item(self, sequence: Array, notes: Mapping[str, str | int | float | bool] | None = None) -> Item:
        """A sequence `[n, …]` of which all counts."""
        return Item({self.sequence: sequence, self.mask: np.ones(len(sequence), np.int64)}, len(sequence), notes or {})

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item; an id without an embedding would read past the table."""
        item = super().row(instance, path)
        sequence, mask = instance.tensors[self.sequence], instance.tensors[self.mask]
        if len(sequence) != len(mask):
            raise InvalidInput(
                f"{path}.{self.mask}", f"expected {len(sequence)} elements as {self.sequence} has, got {len(mask)}"
            )
        if self.ids is not None:
            low, high = int(sequence.min()), int(sequence.max())
            if low < 0 or high >= self.ids:
                wrong = low if low < 0 else high
                raise InvalidInput(f"{path}.{self.sequence}", f"expected token ids in 0..{self.ids - 1}, got {wrong}")
        if not mask.any() or int(mask.min()) < 0 or int(mask.max()) > 1:
            raise InvalidInput(f"{path}.{self.mask}", "expected zeros and ones, with at least one 1")
        return item

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest, …]`, padded under a mask of zeros; at least `least_length` long."""
        longest = max(least_length, *(item.length for item in items))
        fills = {self.sequence: self.fill, self.mask: 0}
        batch = {name: pad_stack([i.tensors[name] for i in items], longest, fill) for name, fill in fills.items()}
        return batch, 1.0 - sum(item.length for item in items) / (longest * len(items))


def decode_text(task: Task, instance: Instance, path: str, *, empty: bool = False) -> str:
    """The text of an instance; `empty` allows one without a word. Raises InvalidInput."""
    if not isinstance(instance, TextInstance):
        raise reject_kind(task, instance, path)
    try:
        text = instance.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(path, f"expected UTF-8, got a byte that is not at position {error.start}") from None
    if not empty and not text.strip():
        raise InvalidInput(path, "is empty; expected a text")
    return text


def read_each(
    read: Callable[[Instance, str], Item], instances: Sequence[Instance], paths: Sequence[str]
) -> list[Item | ZooError]:
    """One outcome for each instance: what `read` gives, or the InvalidInput that it raises."""
    outcomes: list[Item | ZooError] = []
    for instance, path in zip(instances, paths, strict=True):
        try:
            outcomes.append(read(instance, path))
        except InvalidInput as error:
            outcomes.append(error)
    return outcomes

"""Texts with spans → batches of tokens with tags. The task that will serve the result tokenises every text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.datasets.dataset import Examples, TextSpan
from service.tasks.text.token_classification import SpannedItem
from service.training.data.prepared import PreparedExamples
from service.training.data.seeds import batch_order
from service.training.data.token_tags import IGNORED, tags_of_places
from service.training.loop.train import TrainingBatch
from service.training.stop_signal import StopSignal
from service.types import Item


class TaggedTexts:
    """The tags of the tokens of prepared texts, by index of the example."""

    def __init__(self, examples: Examples, prepared: PreparedExamples) -> None:
        self._examples, self.prepared = examples, prepared

    def spans(self, index: int) -> tuple[TextSpan, ...]:
        """The spans of a text."""
        target = self._examples[index].target
        assert isinstance(target, tuple)
        return tuple(span for span in target if isinstance(span, TextSpan))

    def tags(self, index: int, item: Item) -> NDArray[np.int64]:
        """The tag of each token that the network reads, (T,); IGNORED for a token that the tokenizer added."""
        assert isinstance(item, SpannedItem)
        tags = np.array(tags_of_places(item.spans.tolist(), self.spans(index)), np.int64)
        tags[item.added] = IGNORED
        return tags

    def collate(self, indices: Sequence[int], device: str = "cpu") -> TrainingBatch:
        """Inputs (B, T), and tags (B, T), IGNORED for padding."""
        items = self.prepared.items(indices)
        inputs = self.prepared.collate(indices, device)
        longest = max(item.length for item in items)
        tags = np.full((len(items), longest), IGNORED, np.int64)
        for row, (index, item) in enumerate(zip(indices, items, strict=True)):
            tags[row, : item.length] = self.tags(index, item)
        return TrainingBatch(inputs, torch.from_numpy(tags).to(device))


class TaggedBatches:
    """Batches in the order that seed and epoch decide. Implements `train.Batches`."""

    def __init__(self, texts: TaggedTexts, indices: Sequence[int], batch_size: int, seed: int, device: str) -> None:
        self._texts, self._indices, self._device = texts, indices, device
        self._batch_size, self._seed = batch_size, seed
        self._lengths = texts.prepared.lengths(indices)
        self.per_epoch = len(self._order(0))

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        for rows in self._order(epoch)[start:]:
            yield self._texts.collate([self._indices[row] for row in rows], self._device)

    def _order(self, epoch: int) -> list[list[int]]:
        return batch_order(len(self._indices), self._batch_size, self._seed, epoch, self._lengths)


@torch.no_grad()
def token_outputs(
    network: nn.Module,
    output: str,
    prepared: PreparedExamples,
    indices: Sequence[int],
    batch_size: int,
    stop: StopSignal,
    *,
    device: str = "cpu",
) -> list[NDArray[np.float32]]:
    """The network's outputs for the tokens of texts, (T, outputs) each without padding, in their order. The network must be in
    evaluation mode. Raises StopRequested on `cancel`."""
    lengths = prepared.lengths(indices) or [1] * len(indices)
    order = sorted(range(len(indices)), key=lambda i: lengths[i])
    found: dict[int, NDArray[np.float32]] = {}
    for at in range(0, len(order), batch_size):
        stop.check_cancel()
        rows = order[at : at + batch_size]
        batch: Tensor = network(**prepared.collate([indices[row] for row in rows], device))[output]
        for row, values in zip(rows, batch.float().cpu().numpy(), strict=True):
            found[row] = values[: lengths[row]]
    return [found[i] for i in range(len(indices))]

"""Examples → batches. The task that will serve the result prepares every example, so training and serving see the same inputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.datasets.dataset import Examples
from service.errors import ZooError
from service.tasks.base import Task
from service.tasks.text.token_classification import SpannedItem
from service.training.data.accounting import reason_of
from service.training.data.seeds import batch_order
from service.training.failures import CannotTrain
from service.training.loop.train import TrainingBatch
from service.training.stop_signal import StopSignal
from service.types import Item

CACHE_BYTES = 256 * 2**20
"""Prepared examples that stay in memory; others are prepared again each time."""
CHUNK = 32
"""Examples that are prepared together."""


class PreparedExamples:
    """The network's inputs, by index of the example."""

    def __init__(self, examples: Examples, task: Task, cache_bytes: int = CACHE_BYTES) -> None:
        self.task = task
        self._examples = examples
        self._free_bytes = cache_bytes
        self._cached: dict[int, Item] = {}
        self.left_out: dict[int, str] = {}
        """Examples that the task cannot prepare, with the reason."""
        self.truncated: set[int] = set()
        """Examples that are longer than the network reads."""

    def usable(self, indices: Sequence[int], stop: StopSignal) -> tuple[int, ...]:
        """The examples that the task can prepare. The others are added to `left_out`, and long ones to `truncated`."""
        usable: list[int] = []
        for at in range(0, len(indices), CHUNK):
            stop.check()
            chunk = indices[at : at + CHUNK]
            for index, outcome in zip(chunk, self._outcomes(chunk), strict=True):
                if isinstance(outcome, ZooError):
                    self.left_out[index] = reason_of(outcome)
                else:
                    usable.append(index)
                    if outcome.notes.get("truncated"):
                        self.truncated.add(index)
        return tuple(usable)

    def items(self, indices: Sequence[int]) -> list[Item]:
        """Rows in order. Raises CannotTrain for an example that is not usable."""
        items = []
        for index, outcome in zip(indices, self._outcomes(indices), strict=True):
            if isinstance(outcome, ZooError):
                raise CannotTrain(f"an example cannot be read any more: {self._examples[index].origin}")
            items.append(outcome)
        return items

    def each(self, indices: Sequence[int]) -> Iterator[Item]:
        """Rows in order, with few of them in memory at once."""
        for at in range(0, len(indices), CHUNK):
            yield from self.items(indices[at : at + CHUNK])

    def collate(self, indices: Sequence[int], device: str = "cpu") -> dict[str, Tensor]:
        """One batch of the network's inputs, (B, …) each."""
        arrays, _ = self.task.collate(self.items(indices))
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in arrays.items()}

    def lengths(self, indices: Sequence[int]) -> list[int] | None:
        """Lengths along the axis that batches are padded on; None if there is no such axis."""
        if self.task.card.batching.length_of is None:
            return None
        return [item.length for item in self.each(indices)]

    def _outcomes(self, indices: Sequence[int]) -> list[Item | ZooError]:
        missing = [index for index in indices if index not in self._cached]
        examples = [self._examples[index] for index in missing]
        outcomes = self.task.preprocess([e.instance for e in examples], [e.origin for e in examples])
        fresh = dict(zip(missing, outcomes, strict=True))
        for index, outcome in fresh.items():
            if isinstance(outcome, Item):
                size = _size(outcome)
                if size <= self._free_bytes:
                    self._free_bytes -= size
                    self._cached[index] = outcome
        return [self._cached[index] if index in self._cached else fresh[index] for index in indices]


def _size(item: Item) -> int:
    """Bytes of an item's arrays and text."""
    size = sum(array.nbytes for array in item.tensors.values())
    if isinstance(item, SpannedItem):
        size += item.spans.nbytes + item.added.nbytes + sys.getsizeof(item.text)
    return size


class PreparedBatches:
    """Batches of prepared examples, in the order that seed and epoch decide. Implements `train.Batches`."""

    def __init__(
        self,
        prepared: PreparedExamples,
        indices: Sequence[int],
        targets: Tensor,
        batch_size: int,
        seed: int,
        device: str,
    ) -> None:
        """`targets` are those of `indices`, (n, …)."""
        self._prepared, self._indices, self._targets = prepared, indices, targets
        self._batch_size, self._seed, self._device = batch_size, seed, device
        self._lengths = prepared.lengths(indices)
        self.per_epoch = len(self._order(0))

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        for rows in self._order(epoch)[start:]:
            inputs = self._prepared.collate([self._indices[row] for row in rows], self._device)
            yield TrainingBatch(inputs, self._targets[rows].to(self._device))

    def _order(self, epoch: int) -> list[list[int]]:
        return batch_order(len(self._indices), self._batch_size, self._seed, epoch, self._lengths)


class TensorBatches:
    """Batches of rows that all fit into memory. Implements `train.Batches`."""

    def __init__(
        self, inputs: Mapping[str, Tensor], targets: Tensor, batch_size: int, seed: int, device: str = "cpu"
    ) -> None:
        """(n, …) each."""
        self._inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        self._targets = targets.to(device)
        self._batch_size, self._seed = batch_size, seed
        self.per_epoch = len(batch_order(len(targets), batch_size, seed, 0))

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        for rows in batch_order(len(self._targets), self._batch_size, self._seed, epoch)[start:]:
            yield TrainingBatch({name: tensor[rows] for name, tensor in self._inputs.items()}, self._targets[rows])


@torch.no_grad()
def predict(
    network: nn.Module,
    output: str,
    prepared: PreparedExamples,
    indices: Sequence[int],
    batch_size: int,
    stop: StopSignal,
    *,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """The network's outputs for examples, in their order. The network must be in evaluation mode.

    Raises StopRequested on `cancel`; a pause waits until the loop writes its checkpoint.
    """
    lengths = prepared.lengths(indices)
    order = list(range(len(indices))) if lengths is None else sorted(range(len(indices)), key=lambda i: lengths[i])
    parts: list[NDArray[np.float32]] = []
    for at in range(0, len(order), batch_size):
        stop.check_cancel()
        rows = order[at : at + batch_size]
        outputs: Tensor = network(**prepared.collate([indices[row] for row in rows], device))[output]
        parts.append(outputs.float().cpu().numpy())
    together = np.concatenate(parts)
    inverse = np.empty(len(order), np.int64)
    inverse[order] = np.arange(len(order))
    return together[inverse]

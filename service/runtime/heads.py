"""Heads on a shared backbone: a few kilobytes each, in numpy, and which of them are in memory.

A batch through a backbone of milliseconds gives features; what a head makes of a row of them takes microseconds. Heads run
in fp32 in the lane that ran the backbone, whatever device and precision that has.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from model_zoo.cards.tuned_parts import HeadSpec
from model_zoo.errors import ConversionFailed
from service.types import Array, Item

Floats = NDArray[np.float32]

COLUMNS = "columns"
"""Input of a head that takes a row of a table beside the backbone's features."""


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """What `model_zoo.architectures.tuned.Head` has learned, laid out for rows of features."""

    mean: Floats
    scale: Floats
    hidden: tuple[Floats, Floats] | None
    """Weight (hidden, inputs) and bias of an mlp's first layer."""
    out: tuple[Floats, Floats]
    """Weight (outputs, inputs or hidden) and bias."""

    @property
    def bytes(self) -> int:
        """In memory."""
        arrays = [self.mean, self.scale, *self.out, *(self.hidden or ())]
        return sum(array.nbytes for array in arrays)

    def run(self, features: Floats) -> Floats:
        """(B, inputs) → (B, outputs): standardise, linear; or standardise, linear, ReLU, linear."""
        x = (features - self.mean) / self.scale
        if self.hidden is not None:
            weight, bias = self.hidden
            x = np.maximum(x @ weight.T + bias, np.float32(0))
        weight, bias = self.out
        return np.asarray(x @ weight.T + bias, np.float32)


def read_head(model: str, spec: HeadSpec, path: Path) -> HeadWeights:
    """The `head.…` tensors of a version's weights. Raises ConversionFailed where they do not fit the card."""
    shapes: dict[str, tuple[int, ...]] = {"mean": (spec.inputs,), "scale": (spec.inputs,)}
    width = spec.inputs
    if spec.kind == "mlp":
        width = spec.hidden or 1
        shapes |= {"hidden.weight": (width, spec.inputs), "hidden.bias": (width,)}
    shapes |= {"out.weight": (spec.outputs, width), "out.bias": (spec.outputs,)}
    try:
        stored = load_file(path)
        if stored.keys() != {f"head.{name}" for name in shapes}:
            raise ValueError
        found = {name: np.ascontiguousarray(stored[f"head.{name}"], np.float32) for name in shapes}
        if any(found[name].shape != shape for name, shape in shapes.items()):
            raise ValueError
    except (OSError, ValueError, SafetensorError) as error:
        raise ConversionFailed(model, "its head does not fit its card, or cannot be read") from error
    hidden = (found["hidden.weight"], found["hidden.bias"]) if spec.kind == "mlp" else None
    return HeadWeights(found["mean"], found["scale"], hidden, (found["out.weight"], found["out.bias"]))


class HeadPool:
    """Heads in memory, within a bound of bytes: those used longest ago leave, and are read again when they are called.

    Any thread may ask; the lock is not held while a file is read.
    """

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of all heads together; one head alone may have more."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()  # guards what follows
        self._held: OrderedDict[PooledHead, HeadWeights] = OrderedDict()  # used longest ago first
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the heads in memory hold."""
        return self._bytes

    def get(self, head: PooledHead) -> HeadWeights:
        """A head's weights, read from its file where they are not in memory. Raises ConversionFailed."""
        with self._lock:
            weights = self._held.get(head)
            if weights is not None:
                self._held.move_to_end(head)
                return weights
        weights = read_head(head.model, head.spec, head.path)
        with self._lock:
            if head not in self._held:
                self._held[head] = weights
                self._bytes += weights.bytes
            while self._bytes > self._most_bytes and len(self._held) > 1:
                _, left = self._held.popitem(last=False)
                self._bytes -= left.bytes
        return weights

    def holds(self, head: PooledHead) -> int:
        """Bytes that a head has in memory now."""
        weights = self._held.get(head)
        return 0 if weights is None else weights.bytes

    def drop(self, head: PooledHead) -> None:
        """A head that is served no more."""
        with self._lock:
            weights = self._held.pop(head, None)
            if weights is not None:
                self._bytes -= weights.bytes


class PooledHead:
    """One head: what its card says of it, and its place in the pool. Compared by identity."""

    def __init__(self, model: str, spec: HeadSpec, path: Path, pool: HeadPool) -> None:
        """`path`: the safetensors with its weights, which stay there."""
        self.model = model
        self.spec = spec
        self.path = path
        self._pool = pool

    @property
    def memory_bytes(self) -> int:
        """Bytes in memory; 0 while it is paged out."""
        return self._pool.holds(self)

    def run(self, features: Floats, items: Sequence[Item]) -> dict[str, Array]:
        """Rows of the backbone's features (B, D), and the items that they are of → the head's output (B, outputs).

        In a lane. Raises ConversionFailed where its weights have to be read again and cannot be; ValueError where the backbone
        has another width.
        """
        if self.spec.columns:
            columns = np.stack([np.asarray(item.tensors[COLUMNS], np.float32) for item in items])
            features = np.concatenate([features, columns], axis=1)
        return {self.spec.output: self._pool.get(self).run(features)}

    def free(self) -> None:
        """Leaves the pool."""
        self._pool.drop(self)


class FeatureHead:
    """A head that gives the features as they are: how a job reads a frozen backbone through the serving path."""

    OUTPUT = "features"

    def run(self, features: Floats, items: Sequence[Item]) -> dict[str, Array]:
        """(B, D) → the same."""
        return {self.OUTPUT: features}

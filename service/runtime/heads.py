"""Heads on a shared backbone: a few kilobytes each, computed with NumPy, and a pool of those in memory.

A batch through the backbone takes milliseconds, and a head on one row of its features microseconds. Heads run in fp32 in the lane
that ran the backbone, whatever device and precision the backbone has.
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
"""Input of a head that takes a row of a table beside the features of the backbone."""


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """The weights of a `model_zoo.architectures.tuned.Head`, as arrays."""

    mean: Floats
    scale: Floats
    hidden: tuple[Floats, Floats] | None
    """Weight (hidden, inputs) and bias of an mlp's first layer."""
    out: tuple[Floats, Floats]
    """Weight (outputs, inputs or hidden) and bias."""

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
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
    """The `head.…` tensors of a version's weights. Raises ConversionFailed if they do not fit the card."""
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
    """Heads in memory, within a limit of bytes. The least recently used head is evicted, and read again on its next call.

    Thread-safe. The lock is not held while a file is read.
    """

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of all heads together; a single head may be larger."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards the fields below
        self._loaded: OrderedDict[PooledHead, HeadWeights] = OrderedDict()  # least recently used first
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes of the heads in memory."""
        return self._bytes

    def get(self, head: PooledHead) -> HeadWeights:
        """A head's weights, read from its file if they are not in memory. Raises ConversionFailed."""
        with self._lock:
            weights = self._loaded.get(head)
            if weights is not None:
                self._loaded.move_to_end(head)
                return weights
        weights = read_head(head.model, head.spec, head.path)
        with self._lock:
            if head not in self._loaded:
                self._loaded[head] = weights
                self._bytes += weights.bytes
            while self._bytes > self._max_bytes and len(self._loaded) > 1:
                _, evicted = self._loaded.popitem(last=False)
                self._bytes -= evicted.bytes
        return weights

    def bytes_of(self, head: PooledHead) -> int:
        """Bytes of a head in memory now."""
        weights = self._loaded.get(head)
        return 0 if weights is None else weights.bytes

    def drop(self, head: PooledHead) -> None:
        """Remove a head that is no longer served."""
        with self._lock:
            weights = self._loaded.pop(head, None)
            if weights is not None:
                self._bytes -= weights.bytes


class PooledHead:
    """One head: its specification and its weights in the pool. Compared by identity."""

    def __init__(self, model: str, spec: HeadSpec, path: Path, pool: HeadPool) -> None:
        """`path`: the safetensors file of its weights; it must stay."""
        self.model = model
        self.spec = spec
        self.path = path
        self._pool = pool

    @property
    def memory_bytes(self) -> int:
        """Bytes in memory; 0 while the head is evicted."""
        return self._pool.bytes_of(self)

    def run(self, features: Floats, items: Sequence[Item]) -> dict[str, Array]:
        """Features of the backbone (B, D), and the items of the same rows → the head's output (B, outputs).

        Runs in a lane. Raises ConversionFailed if evicted weights cannot be read again; ValueError if the backbone has another
        width.
        """
        if self.spec.columns:
            columns = np.stack([np.asarray(item.tensors[COLUMNS], np.float32) for item in items])
            features = np.concatenate([features, columns], axis=1)
        return {self.spec.output: self._pool.get(self).run(features)}

    def free(self) -> None:
        """Remove the head from the pool."""
        self._pool.drop(self)


class FeatureHead:
    """A head that returns the features: a job reads a frozen backbone through it, on the serving path."""

    OUTPUT = "features"
    name = "features"

    def run(self, features: Floats, items: Sequence[Item]) -> dict[str, Array]:
        """(B, D) → the same."""
        return {self.OUTPUT: features}

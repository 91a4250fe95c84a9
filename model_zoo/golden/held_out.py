"""The held-out examples of a fine-tuned version, on which its tiers are checked: ``held_out.safetensors``.

The file names examples of a data set and stores the outputs of the network for them in fp32. It holds no copy of the examples:
after the data set is deleted, only the golden items of the version remain.

Keys: ``indices`` int64 ``(n,)``, positions in the data set; ``targets`` float64 ``(n,)``, indices of classes or numbers in the
units of the data, or ``(n, classes)``, 1 for each of several classes and 0 for the others; ``outputs`` float32 ``(n, k)``, rows
of the network's first output. The metadata name the data set.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model_zoo.errors import ConversionFailed
from model_zoo.system_errors import system_errors

__all__ = ["HELD_OUT", "MOST_HELD_OUT", "HeldOut", "read_held_out", "write_held_out"]

HELD_OUT = "held_out.safetensors"
MOST_HELD_OUT = 512
"""Examples. If none of so many decisions flips, at most 0.7 % flip, with 95 % confidence."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples of one version, n of them."""

    dataset: str
    """Id of the data set."""
    indices: NDArray[np.int64]
    """Positions in the data set, ``(n,)``."""
    targets: NDArray[np.float64]
    """Indices of classes, or numbers in the units of the data, ``(n,)``; of several classes 1 for each and 0 for the others,
    ``(n, classes)``."""
    outputs: NDArray[np.float32]
    """Rows of the network's first output in fp32, as the worker computed them, ``(n, k)``."""

    def thinned(self, most: int = MOST_HELD_OUT) -> "HeldOut":
        """At most `most` of the examples, evenly spread."""
        count = len(self.indices)
        if count <= most:
            return self
        selected = np.arange(most) * count // most
        return HeldOut(self.dataset, self.indices[selected], self.targets[selected], self.outputs[selected])


def write_held_out(path: Path, held_out: HeldOut) -> None:
    """Write the file. Raises OSError."""
    arrays: dict[str, NDArray[Any]] = {
        "indices": np.ascontiguousarray(held_out.indices, np.int64),
        "targets": np.ascontiguousarray(held_out.targets, np.float64),
        "outputs": np.ascontiguousarray(held_out.outputs, np.float32),
    }
    with system_errors(path):
        save_file(arrays, path, metadata={"dataset": held_out.dataset})


def read_held_out(model: str, path: Path) -> HeldOut | None:
    """The examples of a file; None if there is no file, as in versions of an earlier Zoo.

    Raises:
        ConversionFailed: the file cannot be read.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            dataset = str((file.metadata() or {})["dataset"])
            indices, targets, outputs = (file.get_tensor(name) for name in ("indices", "targets", "outputs"))
        if not (indices.ndim == 1 and targets.ndim in (1, 2) and len(indices) == len(targets) == len(outputs)):
            raise ValueError("lengths differ")
        return HeldOut(dataset, indices, targets, outputs.reshape(len(outputs), -1))
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ConversionFailed(model, "its held-out examples cannot be read") from error

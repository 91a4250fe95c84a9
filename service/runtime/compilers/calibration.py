"""The inputs by which a network is quantised, on their way from the server to the compile worker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from model_zoo.system_errors import system_errors
from service.types import Array, Tensors

FILE = "calibration.safetensors"
"""In the staging folder. Keys: the number of a batch, a dot, and the name of the input."""


def digest_of(batches: Sequence[Tensors]) -> str:
    """64 hex digits, equal for equal batches."""
    sha = hashlib.sha256()
    for batch in batches:
        for name, array in sorted(batch.items()):
            sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def write(folder: Path, batches: Sequence[Tensors]) -> None:
    """Raises OSError."""
    arrays: dict[str, Array] = {
        f"{number}.{name}": np.ascontiguousarray(array)
        for number, batch in enumerate(batches)
        for name, array in batch.items()
    }
    with system_errors(folder / FILE):
        save_file(arrays, folder / FILE)


def read(folder: Path) -> list[dict[str, Array]]:
    """The batches in their order. Raises OSError."""
    batches: dict[int, dict[str, Array]] = {}
    for key, array in load_file(folder / FILE).items():
        number, _, name = key.partition(".")
        batches.setdefault(int(number), {})[name] = array
    return [batches[number] for number in sorted(batches)]

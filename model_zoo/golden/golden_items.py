"""The golden items of a fine-tuned version: ``golden.safetensors``, a few held-out items and the worker's outputs for them.

Keys are ``input.<i>.<name>`` and ``output.<i>.<name>``: single rows, without the rows axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from model_zoo.errors import ConversionFailed
from model_zoo.system_errors import system_errors

__all__ = ["GoldenItem", "read_golden_items", "write_golden_items"]

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GoldenItem:
    """One row of every input, and the row of every output for it."""

    inputs: Tensors
    outputs: Tensors


def write_golden_items(path: Path, items: Sequence[tuple[Tensors, Tensors]]) -> None:
    """Inputs and outputs of a few items, by name and without the rows axis → file. Raises OSError."""
    tensors: dict[str, NDArray[Any]] = {}
    for i, (inputs, outputs) in enumerate(items):
        tensors |= {f"input.{i}.{name}": np.ascontiguousarray(array) for name, array in inputs.items()}
        tensors |= {f"output.{i}.{name}": np.ascontiguousarray(array) for name, array in outputs.items()}
    with system_errors(path):
        save_file(tensors, path)


def read_golden_items(model: str, path: Path) -> list[GoldenItem]:
    """The items of a file, in order; empty if there is no file. Raises ConversionFailed if it cannot be read."""
    if not path.is_file():
        return []
    try:
        tensors = load_file(path)
        found: dict[int, tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = {}
        for key, array in tensors.items():
            side, number, name = key.split(".", 2)
            found.setdefault(int(number), ({}, {}))[("input", "output").index(side)][name] = array
    except (OSError, ValueError, SafetensorError) as error:
        raise ConversionFailed(model, "its golden items cannot be read") from error
    return [GoldenItem(*found[number]) for number in sorted(found)]

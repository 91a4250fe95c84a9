"""Random tensors by a seed: the golden inputs of a network whose input has no meaning that Zoo knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.cards.signature import TensorSpec

__all__ = ["MOST_VALUES", "SIZES", "seeded_tensors", "spread"]

SIZES = (32, 64, 96)
"""Sizes of an axis that varies, one after another for the seeds 0, 1, 2. Networks for images halve them several times."""
MOST_VALUES = 16
"""Values of a row that a golden case stores."""

_FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}


def seeded_tensors(inputs: Sequence[TensorSpec], recipe: TensorsRecipe, seed: int) -> dict[str, NDArray[Any]]:
    """One row of each input, without the rows axis.

    Floating numbers are uniform in 0..1, bytes in 0..255, positions in the whole of their table. Other whole numbers are 0 or 1,
    the first of them 1: many inputs of this kind are masks or counts.
    """
    generator = np.random.default_rng(seed)
    most = recipe.max_length or SIZES[0]
    varying = min(SIZES[seed % len(SIZES)], most)
    if recipe.mask and seed % 2:  # rows of different length, also where all are short
        varying = max(1, varying // 2)
    return {spec.name: _tensor(generator, spec, recipe, varying) for spec in inputs}


def _tensor(generator: np.random.Generator, spec: TensorSpec, recipe: TensorsRecipe, varying: int) -> NDArray[Any]:
    shape = tuple(varying if size < 0 else size for size in spec.shape[1:])
    if (kind := _FLOATS.get(spec.datatype)) is not None:
        return np.asarray(generator.random(shape), kind)
    if spec.datatype == "BOOL":
        return np.asarray(generator.integers(0, 2, shape), np.bool_)
    most = recipe.positions.get(spec.name, 256 if spec.datatype == "UINT8" else 2)
    tensor = np.array(generator.integers(0, most, shape), np.dtype(spec.datatype.lower()))
    if most == 2 and tensor.size:
        tensor.flat[0] = 1
    return tensor


def spread(array: NDArray[Any]) -> NDArray[np.float64]:
    """At most ``MOST_VALUES`` values of an array, evenly spread from the first one on."""
    values = np.asarray(array, np.float64).ravel()
    count = min(MOST_VALUES, values.size)
    return values[np.arange(count) * values.size // max(count, 1)]

"""Attributions by occlusion: how much of a class's probability is lost where a part of the input is left out.

Of images a window slides over the picture the network sees (Zeiler and Fergus 2014, arXiv:1311.2901); of texts one word after
another is left out (Li, Monroe and Jurafsky 2016, arXiv:1612.08220). Each variant is a row like any other, so that every network
that answers, on every runtime, has attributions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from service.types import Array, HeatMap, Instance, Tensors, WordWeight

MOST_PARTS = 100
"""Variants of one instance."""
GRID = 12
"""Cells of an image in each direction."""
WINDOW = 3
"""Cells that are hidden together, in each direction: a single one rarely changes an answer."""

Weights = tuple[WordWeight, ...] | HeatMap


@dataclass(frozen=True, slots=True)
class Occlusions:
    """An instance's variants, each without one part."""

    count: int
    """At most MOST_PARTS."""
    variant: Callable[[int], Instance]
    """The instance without a part."""
    weights: Callable[[NDArray[np.float64]], Weights]
    """Lost probability by part, float64 `[count]` → the weights of what a caller sent."""


@runtime_checkable
class Occludable(Protocol):
    """An input codec whose instances have parts that can be left out."""

    def occlusions(self, instance: Instance, path: str) -> Occlusions:
        """The variants. Called in the pool. Raises InvalidInput whose field begins with `path`."""


class Probabilities(Protocol):
    """An answer codec of classes."""

    def probability(self, row: Tensors, index: int) -> float:
        """Of a class, from a row of outputs."""


@dataclass(frozen=True, slots=True)
class Attributable:
    """What attributions need of a task."""

    inputs: Occludable
    answers: Probabilities


def windows() -> list[tuple[slice, slice]]:
    """Rows and columns of cells under each position of the window, row by row."""
    starts = range(GRID - WINDOW + 1)
    return [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y in starts for x in starts]


def mean_by_cell(lost: NDArray[np.float64]) -> NDArray[np.float32]:
    """Lost probability by window `[windows]` → mean over the windows that cover a cell, float32 `[GRID, GRID]`."""
    total, covered = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    for (rows, columns), loss in zip(windows(), lost, strict=True):
        total[rows, columns] += loss
        covered[rows, columns] += 1
    return (total / covered).astype(np.float32)


def hidden(image: Array, window: tuple[slice, slice]) -> Array:
    """A copy of an image `[channels, height, width]` with the cells of a window at 0, which is the mean colour of normalised
    pixels."""
    _, height, width = image.shape
    copy = image.copy()
    copy[:, _pixels(window[0], height), _pixels(window[1], width)] = 0
    return copy


def _pixels(cells: slice, size: int) -> slice:
    return slice(cells.start * size // GRID, cells.stop * size // GRID)

"""Shared memory for the arrays that two processes exchange; only the descriptions of the arrays are sent.

    writer: layout = arena.write(arrays, 0)      the arrays are copied in, one after another
    reader: arena.views(layout)                  the same arrays, not copied; valid until the next `write`

The two processes must agree on which of them writes. Needs `memfd_create`, that is Linux.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.types import Array

ALIGNED = 64
"""Bytes. Vector instructions are faster on aligned operands."""
STEP = 1 << 20
"""Bytes. The arena grows by at least so many and by a quarter of its size, so that it grows seldom."""

ArrayLayout = tuple[str, str, list[int], int]
"""Of an array: name, dtype as NumPy writes it, shape, and first byte. Fit for JSON."""


def available() -> bool:
    """Whether this system supports an arena."""
    return hasattr(os, "memfd_create")


class Arena:
    """One piece of shared memory, in one of the two processes. Not thread-safe."""

    def __init__(self, handle: int | None = None) -> None:
        """Make a new arena, or open the one of a descriptor that another process made. Raises OSError."""
        self.handle = os.memfd_create("zoo-arena") if handle is None else handle
        self._memory: mmap.mmap | None = None

    def write(self, arrays: Mapping[str, Array], start: int = 0) -> list[ArrayLayout]:
        """Copy arrays in from byte `start` on. Raises MemoryError, OSError if there is no memory for them."""
        layout: list[ArrayLayout] = []
        at = start
        for name, array in arrays.items():
            at = -(-at // ALIGNED) * ALIGNED
            layout.append((name, array.dtype.str, list(array.shape), at))
            at += array.nbytes
        self._map(at)
        for array, view in zip(arrays.values(), self.views(layout).values(), strict=True):
            np.copyto(view, array)
        return layout

    def views(self, layout: Sequence[ArrayLayout]) -> dict[str, Array]:
        """The arrays of a layout, as views."""
        self._map(end_of(layout))
        memory: Any = self._memory
        return {name: np.ndarray(shape, np.dtype(dtype), memory, at) for name, dtype, shape, at in layout}

    def close(self) -> None:
        """Close the descriptor; the memory is freed with the last view."""
        self._memory = None
        os.close(self.handle)

    def _map(self, size: int) -> None:
        """Map at least `size` bytes; the memory grows if it is smaller."""
        if self._memory is not None and len(self._memory) >= size:
            return
        current = os.fstat(self.handle).st_size
        if current < max(size, 1):
            current = max(size, current + current // 4) // STEP * STEP + STEP
            os.ftruncate(self.handle, current)
        self._memory = mmap.mmap(self.handle, current)


def end_of(layout: Sequence[ArrayLayout]) -> int:
    """The first byte after the arrays."""
    return max(
        (at + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for _, dtype, shape, at in layout),
        default=0,
    )

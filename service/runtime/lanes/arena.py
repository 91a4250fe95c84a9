"""Arrays that two processes hand each other: in memory that both have mapped, so that only their descriptions travel.

    writer: notes = arena.lay(arrays, 0)         the arrays are copied in, one after another
    reader: arena.views(notes)                   the same arrays, not copied; gone with the next `lay`

Who may write at a moment is the two processes' own agreement. Needs `memfd_create`, that is Linux.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.types import Array

ALIGNED = 64
"""Bytes. Vector instructions like their operands so."""
STEP = 1 << 20
"""The arena grows by so many bytes at least, and by a quarter of itself, so that it seldom does."""

Note = tuple[str, str, list[int], int]
"""Of an array: its name, its dtype as NumPy writes it, its shape, and where it begins. Fit for JSON."""


def available() -> bool:
    """Whether this system has what an arena needs."""
    return hasattr(os, "memfd_create")


class Arena:
    """One piece of shared memory, as one of the two processes sees it. Not thread-safe."""

    def __init__(self, handle: int | None = None) -> None:
        """A new one, or the one behind a descriptor that another process made and handed on. Raises OSError."""
        self.handle = os.memfd_create("zoo-arena") if handle is None else handle
        self._memory: mmap.mmap | None = None

    def lay(self, arrays: Mapping[str, Array], start: int = 0) -> list[Note]:
        """Copies arrays in from byte `start` on. Raises MemoryError, OSError where there is no room for them."""
        notes: list[Note] = []
        at = start
        for name, array in arrays.items():
            at = -(-at // ALIGNED) * ALIGNED
            notes.append((name, array.dtype.str, list(array.shape), at))
            at += array.nbytes
        self._reach(at)
        for array, view in zip(arrays.values(), self.views(notes).values(), strict=True):
            np.copyto(view, array)
        return notes

    def views(self, notes: Sequence[Note]) -> dict[str, Array]:
        """The arrays that lie there, as views."""
        self._reach(end_of(notes))
        memory: Any = self._memory
        return {name: np.ndarray(shape, np.dtype(dtype), memory, at) for name, dtype, shape, at in notes}

    def close(self) -> None:
        """Gives the descriptor back; the memory goes with the last view."""
        self._memory = None
        os.close(self.handle)

    def _reach(self, size: int) -> None:
        """Maps at least `size` bytes, and makes the memory as large where it is not."""
        if self._memory is not None and len(self._memory) >= size:
            return
        held = os.fstat(self.handle).st_size
        if held < max(size, 1):
            held = max(size, held + held // 4) // STEP * STEP + STEP
            os.ftruncate(self.handle, held)
        self._memory = mmap.mmap(self.handle, held)


def end_of(notes: Sequence[Note]) -> int:
    """The first byte behind the arrays."""
    return max(
        (at + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for _, dtype, shape, at in notes),
        default=0,
    )

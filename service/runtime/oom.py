"""Tells whether the memory of a device ran out, which torch says in more ways than one."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had; fewer rows may then fit. torch's allocator of a CPU raises a plain
    RuntimeError, and NumPy a MemoryError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)

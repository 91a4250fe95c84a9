"""Recognises errors of exhausted memory, which torch reports in several ways."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that memory could not be allocated; fewer rows may then fit. torch's CPU allocator raises a plain
    RuntimeError, and NumPy a MemoryError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)

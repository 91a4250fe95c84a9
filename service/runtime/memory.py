"""Readings of the memory of this process: on a CPU its own private memory, on a GPU the memory that torch has allocated.

A reading on a CPU is the resident anonymous memory of the process (`RssAnon`), after malloc has returned its free pages. The
difference of two readings is therefore the memory that live objects took or freed in between, in whole pages, in all threads.
Batches that run at one of the two moments add their activations; this is the error of a measurement while other models serve.
Weights that are mapped from a file and never written would not count; the loaders of the zoo copy theirs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import torch

MemoryReading = Callable[[], int | None]
"""Bytes in use now, or None if they are unknown. Takes milliseconds; call it from a thread that may block."""

_STATUS = Path("/proc/self/status")


def memory_reading(device: str) -> MemoryReading:
    """The reading of a device. The reading of a GPU is not tested on one."""
    if device.startswith("cuda"):
        return lambda: int(torch.cuda.memory_allocated(device))
    return trimmed_bytes


def trimmed_bytes() -> int | None:
    """Private memory of this process in bytes, after free pages were returned; None if the system does not tell.

    The cost for other threads is small: the next batches fault these pages in again, once.
    """
    if not trim_heap():
        return None
    return resident_bytes()


def resident_bytes() -> int | None:
    """Private memory of this process in bytes, including free blocks that malloc keeps; None if unknown."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError):
        return None


def trim_heap() -> bool:
    """Return every free page of the C library to the operating system. Returns whether that is possible (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is None:
        return False
    malloc_trim(ctypes.c_size_t(0))  # ctypes releases the interpreter lock during the call
    return True

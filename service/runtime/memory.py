"""Readings of what this process holds: on a CPU its own private memory, on a GPU what torch has allocated there.

A reading on a CPU is the process's resident anonymous memory (`RssAnon`), after malloc was told to give back what is free. So
the difference of two readings is what live objects took or gave back in between, to whole pages, wherever in the process that
happened: batches that run at one of the two moments add their activations, which is the error of a measurement while others
serve. Weights that are mapped from a file and never written to would not count; the zoo's loaders copy theirs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import torch

MemoryReading = Callable[[], int | None]
"""Bytes held now, or None where that cannot be told. Takes milliseconds; call it from a thread that may wait."""

_STATUS = Path("/proc/self/status")


def memory_reading(device: str) -> MemoryReading:
    """What tells how much is held on a device. The reading of a GPU has not been tried on one."""
    if device.startswith("cuda"):
        return lambda: int(torch.cuda.memory_allocated(device))
    return trimmed_bytes


def trimmed_bytes() -> int | None:
    """Private memory of this process in bytes, once what is free was given back; None where the system does not say.

    Giving back costs others little: the next batches ask for those pages anew, once.
    """
    if not trim_heap():
        return None
    return resident_bytes()


def resident_bytes() -> int | None:
    """Private memory of this process in bytes as it is, free blocks that malloc keeps included; None where unknown."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError):
        return None


def trim_heap() -> bool:
    """Has the C library return every free page to the operating system. Whether it could (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is None:
        return False
    malloc_trim(ctypes.c_size_t(0))  # ctypes lets go of the interpreter's lock meanwhile
    return True

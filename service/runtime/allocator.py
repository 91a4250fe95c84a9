"""Allocator settings: the C library keeps freed memory for the next batch instead of returning it to the operating system.

By default glibc maps every block above some size and unmaps it when it is freed. A network on a CPU allocates and frees
activations of megabytes hundreds of times a batch, and each of their pages then costs a page fault: for `efficientnet_lite0`
10,000 to 100,000 faults a batch and a tenth of the time, and none with these settings. In return the process keeps its peak
memory. The numbers of the options are those of glibc's malloc.h, which are part of its ABI.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
BLOCK, OLD_BLOCK = 1 << 30, 1 << 25
"""Bytes. Blocks up to this size come from the heap, and the heap is trimmed only by more than this."""


def keep_freed_memory() -> bool:
    """Set the C library so for the whole process, before threads allocate. Returns whether it is set (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # glibc before 2.35 takes no threshold above 32 MiB. The other two alone would be worse than none, since setting any of the
    # options stops glibc from adapting the first.
    if mallopt(M_MMAP_THRESHOLD, BLOCK) != 1 and mallopt(M_MMAP_THRESHOLD, OLD_BLOCK) != 1:
        return False
    # One arena: other arenas have heaps of 64 MiB that are unmapped when they are empty, whatever the thresholds are.
    done = [mallopt(option, value) == 1 for option, value in ((M_TRIM_THRESHOLD, BLOCK), (M_ARENA_MAX, 1))]
    return all(done)

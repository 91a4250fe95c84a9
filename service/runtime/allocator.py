"""Keeps memory that a batch freed for the next batch, instead of giving it back to the operating system in between.

By default glibc maps every block above some size anew and unmaps it when it is freed. A network on a CPU frees and
allocates activations of megabytes hundreds of times a batch, and each of their pages then costs a page fault: seen on
`efficientnet_lite0`, 10,000 to 100,000 faults a batch and a tenth of the time, none with this. The price is that the process
keeps the most it ever needed. Numbers of the options are those of glibc's malloc.h, which are part of its ABI.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
BLOCK, OLD_BLOCK = 1 << 30, 1 << 25
"""Bytes. Blocks up to here come from the heap, and the heap is not trimmed by less."""


def keep_freed_memory() -> bool:
    """Sets the C library so, for the whole process; call before threads allocate. Whether it could (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # glibc before 2.35 takes no threshold above 32 MiB; and to set the other two alone would be worse than nothing, since
    # setting any of them ends glibc's own learning of the first.
    if mallopt(M_MMAP_THRESHOLD, BLOCK) != 1 and mallopt(M_MMAP_THRESHOLD, OLD_BLOCK) != 1:
        return False
    # One arena: the others have heaps of 64 MiB that are unmapped when they fall empty, whatever the thresholds say.
    done = [mallopt(option, value) == 1 for option, value in ((M_TRIM_THRESHOLD, BLOCK), (M_ARENA_MAX, 1))]
    return all(done)

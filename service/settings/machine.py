"""Cores and memory that this process may use, by the limits of its container."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may run on, at least 1: by CPU affinity and by the CPU quota of the container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(affinity, _cgroup_cores(affinity)))


def _cgroup_cores(fallback: int) -> int:
    """Whole cores of the cgroup's CPU quota (v2, else v1). torch and os.cpu_count() count all cores of the host."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((Path("/sys/fs/cgroup") / file).read_text() for file in files).split()
            return fallback if quota in ("max", "-1") else max(1, int(quota) // int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return fallback


def usable_memory_bytes() -> int:
    """Memory that this process may use: the machine's memory, or the limit of the container if it is lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, else v1
        try:
            return min(whole, int((Path("/sys/fs/cgroup") / file).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return whole

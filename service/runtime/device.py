"""Which device serves, and how its cores are cut into lanes."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device and how many batches run on it at once. On a CPU lanes × threads = cores, so torch never oversubscribes."""

    name: str
    """As torch writes it: `cpu`, `cuda:0`."""
    lanes: int
    threads_per_lane: int


class DeviceUnavailable(Exception):
    """The device that was asked for is not in this machine. The text is for the operator."""


def plan_device(wanted: str, lanes: int, cores: int) -> DevicePlan:
    """Resolves the settings `device`, `lanes` (0: choose) and the number of usable cores.

    On a CPU one lane with all cores is chosen: see docs/benchmarks.md for what was measured against one lane per core.
    Raises DeviceUnavailable where a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    name = ("cuda:0" if has_gpu else "cpu") if wanted == "auto" else ("cuda:0" if wanted == "cuda" else wanted)
    if name == "cpu":
        count = min(lanes, cores) or 1
        return DevicePlan("cpu", count, max(1, cores // count))
    if not has_gpu or int(name.partition(":")[2]) >= torch.cuda.device_count():
        raise DeviceUnavailable(f"device {name} was asked for, but this machine has {torch.cuda.device_count()} GPUs")
    return DevicePlan(name, lanes or 1, max(1, cores // 2))

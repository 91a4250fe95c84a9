"""Which device serves, and how its cores are cut into lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

THREADS_PER_LANE = 4
"""On a CPU with many cores. The threads of a batch wait for each other after every operation, so few waste less than many; one
alone would make every answer slow where there are cores to spare."""


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

    A GPU gets one lane. A CPU of up to four cores gets a lane a core, since on two cores that was measured the faster (see
    docs/benchmarks.md); a larger one gets lanes of four threads, which was not measured.
    Raises DeviceUnavailable where a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    name = ("cuda:0" if has_gpu else "cpu") if wanted == "auto" else ("cuda:0" if wanted == "cuda" else wanted)
    if name == "cpu":
        chosen = cores if cores <= THREADS_PER_LANE else cores // THREADS_PER_LANE
        count = max(1, min(lanes or chosen, cores))
        return DevicePlan("cpu", count, max(1, cores // count))
    if not has_gpu or int(name.partition(":")[2]) >= torch.cuda.device_count():
        raise DeviceUnavailable(f"device {name} was asked for, but this machine has {torch.cuda.device_count()} GPUs")
    return DevicePlan(name, lanes or 1, max(1, cores // 2))


def limit_threads(plan: DevicePlan) -> None:
    """Sets torch's threads for whoever is not a lane: loading and its checks take no more than a lane does."""
    torch.set_num_threads(plan.threads_per_lane)


def memory_readers(plan: DevicePlan) -> dict[str, Callable[[], float]]:
    """Readings of the device's own memory in bytes, by kind; none on a CPU, whose process says it of itself."""
    if not plan.name.startswith("cuda"):
        return {}
    return {
        "allocated": lambda: float(torch.cuda.memory_allocated(plan.name)),
        "reserved": lambda: float(torch.cuda.memory_reserved(plan.name)),
    }

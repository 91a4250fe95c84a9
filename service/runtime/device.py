"""The device that serves, and the division of its cores into lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

THREADS_PER_LANE = 4
"""On a CPU with many cores. The threads of a batch wait for each other after every operation, so few threads waste less time than
many. One thread alone would make every answer slow while cores are idle."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device and the number of batches that run on it at once. On a CPU lanes × threads ≤ cores, so torch never
    oversubscribes."""

    name: str
    """As torch writes it: `cpu`, `cuda:0`."""
    lanes: int
    threads_per_lane: int


class DeviceUnavailable(Exception):
    """The requested device is not in this machine. The text is for the operator."""


def plan_device(wanted: str, lanes: int, cores: int) -> DevicePlan:
    """The plan for the settings `device` and `lanes` (0: automatic) and the number of usable cores.

    A GPU has one lane. A CPU of up to four cores has one lane a core, which was faster on two cores (docs/benchmarks.md). A
    larger CPU has lanes of four threads, which is not measured.

    Raises:
        DeviceUnavailable: a GPU is requested and the machine has none of that number.
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
    """Set torch's threads for all threads that are not lanes: loading and its checks use as many cores as one lane."""
    torch.set_num_threads(plan.threads_per_lane)


def memory_readers(plan: DevicePlan) -> dict[str, Callable[[], float]]:
    """Readers of the device's own memory in bytes, by kind; none on a CPU, whose memory is that of the process."""
    if not plan.name.startswith("cuda"):
        return {}
    return {
        "allocated": lambda: float(torch.cuda.memory_allocated(plan.name)),
        "reserved": lambda: float(torch.cuda.memory_reserved(plan.name)),
    }

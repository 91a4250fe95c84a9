"""Which device serves, and how its cores are cut into lanes."""

from __future__ import annotations

from dataclasses import dataclass

import torch


CPU_BATCH_ROWS = 8
"""On a CPU more rows a second come out of a batch up to about here; beyond it callers only wait longer for their neighbours, and
a closed loop of callers falls into step with one large batch, so that lanes stand idle between two of them."""

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
    batch_rows: int | None = None
    """Rows beyond which a batch on this device gains nothing; None where the card's own limit is the only one."""


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
        return DevicePlan("cpu", count, max(1, cores // count), CPU_BATCH_ROWS)
    if not has_gpu or int(name.partition(":")[2]) >= torch.cuda.device_count():
        raise DeviceUnavailable(f"device {name} was asked for, but this machine has {torch.cuda.device_count()} GPUs")
    return DevicePlan(name, lanes or 1, max(1, cores // 2))

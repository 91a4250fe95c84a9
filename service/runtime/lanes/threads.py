"""The lanes of a device: a fixed number of threads, each of which runs one batch after another.

A free lane calls `source` for its next batch, and ends when `source` returns None.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import torch

from service.runtime.device import DevicePlan

NICENESS = 5
"""Of lanes on a CPU. The event loop needs a core at once and briefly. If it waits for the time slices of lanes, deadlines of
callers pass before their requests are read, and the lanes are idle. In trials of some seconds at twice the capacity with
`all_minilm_l6_v2` in bf16, 0.16 to 0.38 of the capacity was answered in time without this niceness, and 0.42 to 0.66 with it.
Jobs have idle priority and still come after lanes."""
LOADING_NICENESS = 10
"""Of threads that load a network and check it by batches of all sizes, so that served requests come first."""


class Lanes:
    """The threads of one device. Call `start` once; to end, let `source` return None, then call `join`."""

    def __init__(self, plan: DevicePlan, source: Callable[[], Callable[[], None] | None]) -> None:
        self._plan = plan
        self._source = source
        # Daemon threads: a lane that hangs in a kernel must not prevent the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"lane-{plan.name}-{i}", daemon=True) for i in range(plan.lanes)
        ]

    def start(self) -> None:
        """Start every lane."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the lanes to end, each for at most `timeout_s`."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        torch.set_num_threads(self._plan.threads_per_lane)  # OpenMP keeps this per thread
        if self._plan.name == "cpu":
            lower_priority()
        if self._plan.name.startswith(
            "cuda"
        ):  # one stream a lane, so that the copies of one lane overlap the kernels of another
            with torch.cuda.stream(torch.cuda.Stream(self._plan.name)):  # type: ignore[no-untyped-call]
                self._loop()
        else:
            self._loop()

    def _loop(self) -> None:
        while (run_batch := self._source()) is not None:
            run_batch()
            del run_batch  # otherwise a waiting lane would hold the network of its last batch


def lower_priority(niceness: int = NICENESS) -> None:
    """Lower the priority of the calling thread. Linux only, where priorities belong to threads."""
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))

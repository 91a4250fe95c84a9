"""A device's lanes: a fixed number of threads, each running one batch after another.

A lane pulls: it asks `source` for its next job when it is free, and ends when `source` gives None.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import torch

from service.runtime.device import DevicePlan

NICENESS = 5
"""Of lanes on a CPU. The event loop needs a core at once, and briefly: behind a lane's time slices it falls behind its callers,
whose deadlines then pass before anybody has read them, while the lanes find nothing to do. Trials of some seconds at twice the
capacity with `all_minilm_l6_v2` in bf16 had 0.16 to 0.38 of the capacity answered in time without, 0.42 to 0.66 with it. Jobs, at
idle priority, still come after lanes."""
LOADING_NICENESS = 10
"""Of threads that load a network, which check it by batches of all sizes: those who are served come first."""


class Lanes:
    """The threads of one device. `start` them once; make `source` give None, then `join`."""

    def __init__(self, plan: DevicePlan, source: Callable[[], Callable[[], None] | None]) -> None:
        self._plan = plan
        self._source = source
        # Daemons: a lane that hangs in a kernel must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"lane-{plan.name}-{i}", daemon=True) for i in range(plan.lanes)
        ]

    def start(self) -> None:
        """Starts every lane."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the lanes to end, each for at most `timeout_s`."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        torch.set_num_threads(self._plan.threads_per_lane)  # OpenMP keeps this per thread
        if self._plan.name == "cpu":
            lower_priority()
        if self._plan.name.startswith("cuda"):  # a stream a lane, so that copies of one overlap kernels of another
            with torch.cuda.stream(torch.cuda.Stream(self._plan.name)):  # type: ignore[no-untyped-call]
                self._loop()
        else:
            self._loop()

    def _loop(self) -> None:
        while (job := self._source()) is not None:
            job()
            del job  # a lane that waits for the next would else keep the last one's network from being freed


def lower_priority(niceness: int = NICENESS) -> None:
    """The calling thread comes after those of usual priority from now on. Linux, where priorities belong to threads."""
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))

"""Lanes run batches until the source is empty."""

import os
import queue
import sys
import threading
from collections.abc import Callable

import pytest
import torch

from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import NICENESS, Lanes

PATIENCE_S = 20.0
Job = Callable[[], None]


def test_lanes_run_every_batch_and_end_with_the_source() -> None:
    jobs: queue.Queue[Job | None] = queue.Queue()
    done: queue.Queue[int] = queue.Queue()
    for i in range(50):
        jobs.put(lambda i=i: done.put(i))  # type: ignore[misc]
    lanes = Lanes(DevicePlan("cpu", 3, 1), lambda: jobs.get(timeout=PATIENCE_S))
    lanes.start()
    assert {done.get(timeout=PATIENCE_S) for _ in range(50)} == set(range(50))
    for _ in range(3):
        jobs.put(None)
    lanes.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in lanes._threads)


def test_lanes_of_the_plan_run_concurrently() -> None:
    together = threading.Barrier(3)
    jobs: queue.Queue[Job | None] = queue.Queue()
    names: queue.Queue[str] = queue.Queue()

    def meet() -> None:
        together.wait(PATIENCE_S)
        names.put(threading.current_thread().name)

    for _ in range(3):
        jobs.put(meet)
    for _ in range(3):
        jobs.put(None)
    lanes = Lanes(DevicePlan("cpu", 3, 1), lambda: jobs.get(timeout=PATIENCE_S))
    lanes.start()
    assert {names.get(timeout=PATIENCE_S) for _ in range(3)} == {f"lane-cpu-{i}" for i in range(3)}
    lanes.join(PATIENCE_S)


def test_lane_uses_the_planned_threads() -> None:
    jobs: queue.Queue[Job | None] = queue.Queue()
    seen: queue.Queue[int] = queue.Queue()
    jobs.put(lambda: seen.put(torch.get_num_threads()))
    jobs.put(None)
    before = torch.get_num_threads()
    wanted = 1 if before > 1 else 2
    lanes = Lanes(DevicePlan("cpu", 1, wanted), lambda: jobs.get(timeout=PATIENCE_S))
    lanes.start()
    assert seen.get(timeout=PATIENCE_S) == wanted
    lanes.join(PATIENCE_S)


def test_hanging_lane_blocks_neither_join_nor_exit() -> None:
    hang = threading.Event()

    def job() -> None:
        hang.wait(PATIENCE_S)

    lanes = Lanes(DevicePlan("cpu", 1, 1), lambda: job)
    lanes.start()
    assert all(thread.daemon for thread in lanes._threads)
    lanes.join(0.001)
    assert lanes._threads[0].is_alive()
    lanes._source = lambda: None
    hang.set()
    lanes.join(PATIENCE_S)
    assert not lanes._threads[0].is_alive()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities belong to threads on Linux only")
def test_cpu_lane_has_lower_priority_than_the_event_loop() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    jobs: queue.Queue[Job | None] = queue.Queue()
    seen: queue.Queue[int] = queue.Queue()
    jobs.put(lambda: seen.put(niceness()))
    jobs.put(None)
    lanes = Lanes(DevicePlan("cpu", 1, 1), lambda: jobs.get(timeout=PATIENCE_S))
    lanes.start()
    assert seen.get(timeout=PATIENCE_S) == max(NICENESS, before)
    lanes.join(PATIENCE_S)
    assert niceness() == before, "only the lane's"

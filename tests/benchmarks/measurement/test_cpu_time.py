"""Processor time is attributed to the thread that spent it."""

import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import psutil

from benchmarks.measurement.cpu_time import spent

WORK_S = 0.2
"""The kernel counts in hundredths of a second."""


def work() -> None:
    """Spend processor time of the calling thread."""
    until = time.thread_time() + WORK_S
    while time.thread_time() < until:
        sum(range(1000))


def test_spent_counts_the_main_thread_as_loop_and_others_as_rest() -> None:
    server: Any = SimpleNamespace(tree=lambda: [psutil.Process(os.getpid())])
    began, over = threading.Event(), threading.Event()

    def lane() -> None:
        work()
        began.set()
        over.wait(60)  # the kernel does not list a thread that has ended

    before = spent(server)
    work()
    thread = threading.Thread(target=lane)
    thread.start()
    assert began.wait(60)
    after = spent(server)
    over.set()
    thread.join()
    assert after["loop"] - before["loop"] >= WORK_S / 2
    assert after["rest"] - before["rest"] >= WORK_S / 2

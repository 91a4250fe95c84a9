"""The effect of model loads on calls: callers of one model, alone and beside loads of another model, in alternation.

    python -m benchmarks.measurement.load_impact [--callers 8] [--seconds 6] [--rounds 3]

One thread loads another model and, once it is READY, unloads it, over and over, while callers of `efficientnet_lite0` wait for
their answers. A loaded model is unloaded before it is compiled.
"""

from __future__ import annotations

import argparse
import statistics
import threading
from typing import Any

from rich.table import Table

from benchmarks.load import inputs
from benchmarks.measurement.plan import Plan
from benchmarks.measurement.scenarios import closed_command
from benchmarks.measurement.testbed import console, measure, store_messages
from benchmarks.participants.process import start_module
from benchmarks.participants.zoo import Zoo
from benchmarks.paths import zoo_home
from model_zoo.store import Store
from service.client import Client

SERVED, LOADED = "efficientnet_lite0", "all_minilm_l6_v2"


class RepeatedLoads:
    """A thread that loads and unloads a model until the block ends; `count` is the number of loads."""

    def __init__(self, target: str) -> None:
        self.count = 0
        self._failed: Exception | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(target,))

    def __enter__(self) -> RepeatedLoads:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if kind is None and self._failed is not None:  # with fewer loads the figures would look better than they are
            raise self._failed

    def _run(self, target: str) -> None:
        try:
            with Client(target) as client:
                while not self._end.is_set():
                    client.load(LOADED)
                    client.unload(LOADED)
                    self.count += 1
        except Exception as error:
            self._failed = error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures the effect of model loads on the calls of another model.")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    plan = Plan(zoo_home(), 1, arguments.seconds, False, frozenset())
    seen: dict[str, list[dict[str, Any]]] = {"alone": [], "beside loads": []}
    loads = 0
    with start_module("load.client") as client, Zoo("zoo", [SERVED], plan.home, {}) as server:
        server.settle()
        task = inputs.task_of(SERVED, Store(plan.home))
        store_messages(client, f"zoo {SERVED}", [server.message(m) for m in inputs.messages(task, "tensors")])
        command = closed_command(server, SERVED, arguments.callers, arguments.seconds)
        with Client(server.target) as zoo:  # the first load of a server also imports libraries
            zoo.load(LOADED)
            zoo.unload(LOADED)
        for _ in range(arguments.rounds):
            seen["alone"].append(measure(client, server, command))
            with RepeatedLoads(server.target) as repeated:
                seen["beside loads"].append(measure(client, server, command))
            loads += repeated.count
    table = Table(f"{arguments.callers} callers of {SERVED}", "calls/s", "p50 ms", "p99 ms")
    for name, figures in seen.items():
        middle = (statistics.median(f[key] for f in figures) for key in ("calls_s", "p50_ms", "p99_ms"))
        table.add_row(name, *(f"{value:.1f}" for value in middle))
    console.print(table)
    console.print(f"{loads} loads of {LOADED} in {arguments.rounds * arguments.seconds:g} s")


if __name__ == "__main__":
    main()

"""What a load costs those who are served meanwhile: callers of one model, turn by turn alone and beside loads of another.

    python -m benchmarks.loading [--callers 8] [--seconds 6] [--rounds 3]

Another model is loaded and, once it is READY, unloaded over and over while callers of `efficientnet_lite0` wait for their
answers. Nobody waits for it to be made faster.
"""

from __future__ import annotations

import argparse
import statistics
import threading
from typing import Any

from rich.table import Table

from benchmarks import inputs
from benchmarks.field import Plan, console, keep, measured
from benchmarks.peers.zoo import Zoo
from benchmarks.processes import module
from benchmarks.run import home
from benchmarks.scenarios import closed_order
from model_zoo.store import Store
from service.client import Client

SERVED, LOADED = "efficientnet_lite0", "all_minilm_l6_v2"


class Loads:
    """A thread that loads and unloads until it is told to end; `count` says how often it did."""

    def __init__(self, target: str) -> None:
        self.count = 0
        self._failed: Exception | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(target,))

    def __enter__(self) -> Loads:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if kind is None and self._failed is not None:  # figures beside fewer loads would say less than they seem to
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
    """See the module."""
    parser = argparse.ArgumentParser(description="Shows what a load costs those who are served meanwhile.")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    plan = Plan(home(), 1, arguments.seconds, False, frozenset())
    seen: dict[str, list[dict[str, Any]]] = {"alone": [], "beside loads": []}
    loads = 0
    with module("client") as client, Zoo("zoo", [SERVED], plan.home, {}) as server:
        server.settle()
        task = inputs.task_of(SERVED, Store(plan.home))
        keep(client, f"zoo {SERVED}", [server.message(m) for m in inputs.messages(task, "tensors")])
        order = closed_order(server, SERVED, arguments.callers, arguments.seconds)
        with Client(server.target) as zoo:  # the first load imports libraries, once in the life of a server
            zoo.load(LOADED)
            zoo.unload(LOADED)
        for _ in range(arguments.rounds):
            seen["alone"].append(measured(client, server, order))
            with Loads(server.target) as loading:
                seen["beside loads"].append(measured(client, server, order))
            loads += loading.count
    table = Table(f"{arguments.callers} callers of {SERVED}", "calls/s", "p50 ms", "p99 ms")
    for name, figures in seen.items():
        middle = (statistics.median(f[key] for f in figures) for key in ("calls_s", "p50_ms", "p99_ms"))
        table.add_row(name, *(f"{value:.1f}" for value in middle))
    console.print(table)
    console.print(f"{loads} loads of {LOADED} in {arguments.rounds * arguments.seconds:g} s")


if __name__ == "__main__":
    main()

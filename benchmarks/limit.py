"""The in-process limit: a network alone, in a plain loop, at its best batch size. Its own process; eager, fp32.

    python -m benchmarks.limit MODEL HOME CORES

Prints the sweep as a JSON line, then measures for as many seconds as each line of standard input says. The loop has what
the server has: the same weights, memory format, allocator settings and number of cores; and none of the work around it.
It also tries one lane of all cores and one lane per core, and keeps the better.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path

import torch

from benchmarks import inputs
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.allocator import keep_freed_memory
from service.runtime.network import NetworkRuntime
from service.types import Tensors

BATCHES = (1, 2, 4, 8, 16, 32)
SWEEP_S = 2.0


def measure(runtime: NetworkRuntime, batch: Tensors, lanes: int, threads: int, seconds: float) -> float:
    """Rows a second of `lanes` threads, each running `batch` over and over with `threads` torch threads."""
    rows = len(next(iter(batch.values())))
    counts = [0] * lanes
    end = time.monotonic() + seconds

    def run(lane: int) -> None:
        torch.set_num_threads(threads)
        while time.monotonic() < end:
            runtime.run(batch)
            counts[lane] += rows

    began = time.monotonic()
    workers = [threading.Thread(target=run, args=(lane,)) for lane in range(lanes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - began)


def main() -> None:
    """See the module."""
    keep_freed_memory()
    name, home, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    store = Store(home)
    task = inputs.task_of(name, store)
    found = store.find(task.card)
    assert found is not None
    runtime = NetworkRuntime(load_network(task.card, found), "cpu")
    given = inputs.items(task)
    batches = {
        n: task.collate([given[i % len(given)] for i in range(n)])[0]
        for n in BATCHES
        if n <= task.card.batching.max_batch_size
    }
    shapes = sorted({(1, cores), (cores, 1)})
    sweep = {}
    for lanes, threads in shapes:
        for n, batch in batches.items():
            runtime.run(batch)
            sweep[n, lanes] = measure(runtime, batch, lanes, threads, SWEEP_S)
    (best, lanes), _ = max(sweep.items(), key=lambda pair: pair[1])
    threads = cores // lanes
    print(
        json.dumps(
            {"best_batch": best, "lanes": lanes, "sweep": {f"{n} rows, {k} lanes": v for (n, k), v in sweep.items()}}
        ),
        flush=True,
    )
    for line in sys.stdin:
        rate = measure(runtime, batches[best], lanes, threads, float(line))
        print(
            json.dumps({"rows_s": rate, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}),
            flush=True,
        )


if __name__ == "__main__":
    main()

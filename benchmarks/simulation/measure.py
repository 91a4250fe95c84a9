"""Measures the batch times of a network on one lane of a CPU, for `measured.py`.

    python -m benchmarks.simulation.measure MODEL TIER [--home DIR] [--repeats N]       TIER: eager or best

Batches of each size (and, for texts, of each length) run on one thread, alternating, so that a slow moment affects all alike.
The processor time of the thread is measured, not the clock, and the minimum of all turns is taken, since other programs on the
machine share its caches and memory. The law is fitted by least squares on relative errors; its spread is the deviation of the
logarithms around each cell's median.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.load import inputs
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.compilers.compiler import Compiler
from service.runtime.device import DevicePlan
from service.runtime.network import NetworkRuntime, Runtime
from service.tasks.base import Task
from service.types import Item

SIZES = (1, 2, 4, 8, 16)
LENGTHS = (8, 27, 64, 128, 200)


def measure(model: str, tier: str, home: Path, cache: Path, repeats: int) -> dict[str, object]:
    """Least and median seconds by rows and length, the law fitted to the least, and the spread of the batches."""
    store = Store(home)
    task = inputs.task_of(model, store)
    found = store.find(task.card)
    assert found is not None
    runtime: Runtime = NetworkRuntime(load_network(task.card, found), "cpu")
    if tier == "best":
        runtime = Compiler(cache, store, DevicePlan("cpu", 2, 1)).compile(task.card, "fp32").load()
    torch.set_num_threads(1)
    varies = task.card.batching.length_of is not None and task.card.raw_input == "text"
    lengths = LENGTHS if varies else (1,)
    cells = list(itertools.product(SIZES, lengths))
    batches = {cell: task.collate(_rows(task, *cell, varies=varies))[0] for cell in cells}
    seen: dict[tuple[int, int], list[float]] = {cell: [] for cell in cells}
    for turn in range(repeats + 1):
        for cell in cells:
            began = time.thread_time()
            runtime.run(batches[cell])
            if turn:  # the first turn is the warm-up
                seen[cell].append(time.thread_time() - began)
    median = {cell: float(np.median(times)) for cell, times in seen.items()}
    target = np.array([min(seen[cell]) for cell in cells])
    columns = np.array([[1.0, rows, rows * length] if varies else [1.0, rows] for rows, length in cells])
    law = np.linalg.lstsq(columns / target[:, None], np.ones(len(cells)), rcond=None)[0]
    strays = np.concatenate([np.log(np.array(times) / median[cell]) for cell, times in seen.items()])
    return {
        "model": model,
        "tier": tier,
        "law_s": [float(value) for value in law],
        "largest_error": float(np.abs(columns @ law / target - 1.0).max()),
        "sigma": float(strays.std()),
        "least_and_median_s": {
            f"{rows} of {length}": [min(seen[rows, length]), median[rows, length]] for rows, length in cells
        },
    }


def _rows(task: Task, rows: int, length: int, *, varies: bool) -> list[Item]:
    if not varies:
        items = inputs.items(task)
        return [items[i % len(items)] for i in range(rows)]
    word = "rain"
    return inputs.text_items(task, [" ".join([word] * (length - inputs.MARKS))] * rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tier", choices=("eager", "best"))
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("ZOO_TEST_HOME", ".cache/zoo-home")))
    parser.add_argument("--cache", type=Path, help="folder of compiled code; default: the home")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    home = arguments.home.resolve()
    cache = (arguments.cache or home).resolve()
    print(json.dumps(measure(arguments.model, arguments.tier, home, cache, arguments.repeats), indent=1))


if __name__ == "__main__":
    main()

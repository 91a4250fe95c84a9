"""The in-process limit: a network in a plain loop, without any of the work around it, in a process of its own.

    python -m benchmarks.participants.in_process MODEL HOME CORES TIER   one command a JSON line in, one answer a JSON line out

TIER is `eager` (fp32, operation by operation) or `best` (compiled, as Zoo serves it). The loop has the same weights, memory
format, allocator settings and number of cores as the server. Commands: `sweep` finds the best batch size and number of lanes, one
lane of all cores against one lane a core; `rate` measures at these; `texts` embeds a stream of texts of different lengths,
batched in arrival order or by length; `reference` returns the answers with which those of all servers are compared.
"""

from __future__ import annotations

import base64
import itertools
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.load import inputs
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.allocator import keep_freed_memory
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.compilers.compiler import Compiler
from service.runtime.device import DevicePlan
from service.runtime.network import NetworkRuntime, Runtime
from service.runtime.padding import padded_length
from service.runtime.precision import has_instructions
from service.tasks.base import Task
from service.tiering.runtime_benchmark import median_seconds, padding_gains
from service.types import Item, Tensors

BATCHES = (1, 2, 4, 8, 16, 32)


class InProcessNetwork:
    """One network and the batches of its measurements."""

    def __init__(self, model: str, home: Path, cores: int, tier: str) -> None:
        store = Store(home)
        self.cores = cores
        self.task: Task = inputs.task_of(model, store)
        found = store.find(self.task.card)
        assert found is not None
        self.items = inputs.items(self.task)
        self._eager = NetworkRuntime(load_network(self.task.card, found), "cpu")
        # Compiled code is specific to a number of threads; Zoo has one lane a core.
        plan = DevicePlan("cpu", cores, 1)
        self.runtime: Runtime = self._eager
        if tier == "best":
            precision = "bf16" if has_instructions("bf16", "cpu") else "fp32"
            self.runtime = self._fastest(Compiler(home, store, plan), precision)
        # The server pads rows to lengths at which compiled code is fast; the loop does so too.
        rows = (self.items * BATCHES[-1])[: self.task.card.batching.max_batch_size]
        self._pads = tier == "best" and padding_gains(self.task, self.runtime, rows, time.perf_counter)
        self.shapes = sorted({(1, cores), (cores, 1)}) if tier == "eager" else [(cores, 1)]

    def _fastest(self, compiler: Compiler, precision: str) -> Runtime:
        """The compiled network that is faster in the geometric mean of one row and a full batch, as the server decides."""
        found: list[Runtime] = []
        for name in compiler.compilers:
            with suppress(CannotCompile):
                found.append(compiler.compile(self.task.card, precision, name).load())
        if not found:
            raise CannotCompile("no compiler can compile it")
        product = [1.0] * len(found)
        for rows in (1, self.task.card.batching.cpu_batch_size):
            batch = self._batch([self.items[i % len(self.items)] for i in range(rows)])
            seconds = median_seconds([(runtime, batch) for runtime in found], time.perf_counter)
            product = [a * b for a, b in zip(product, seconds, strict=True)]
        return found[product.index(min(product))]

    def sweep(self, seconds: float) -> dict[str, Any]:
        """Rows a second by batch size and lanes, and the best settings."""
        seen = {}
        sizes = [n for n in BATCHES if n <= self.task.card.batching.max_batch_size]
        for (lanes, _), rows in itertools.product(self.shapes, sizes):
            seen[rows, lanes] = self.rate(rows, lanes, seconds)["rows_s"]
        rows, lanes = max(seen, key=lambda key: seen[key])
        return {"rows": rows, "lanes": lanes, "seen": {f"{n} rows, {k} lanes": rate for (n, k), rate in seen.items()}}

    def rate(self, rows: int, lanes: int, seconds: float) -> dict[str, float]:
        """Rows a second of one batch, repeated, and the peak memory of this process."""
        batch = self._batch([self.items[i % len(self.items)] for i in range(rows)])
        self.runtime.run(batch)
        done, took = self._loop(lanes, seconds, lambda: batch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {"rows_s": done * rows / took, "batch_ms": 1000.0 * took * lanes / max(done, 1), "peak_mib": peak}

    def texts(self, order: str, rows: int, lanes: int, seconds: float, count: int, seed: int) -> dict[str, float]:
        """Texts a second and the padded share. Batches of `rows` are cut from `count` review-like texts in arrival order
        (`arrival`) or sorted by their lengths (`length`), which is possible only if all texts are known beforehand."""
        items = inputs.text_items(self.task, inputs.reviews(self.task, count, seed))
        if order == "length":
            items = sorted(items, key=lambda item: item.length)
        chunks = [items[i : i + rows] for i in range(0, count - rows + 1, rows)]
        # Whole passes only: sorted by length, half a pass would be the short half.
        batches = [self._batch(chunk) for chunk in chunks]
        np.random.default_rng(seed).shuffle(batches)
        padded = [1.0 - sum(i.length for i in chunk) / (max(i.length for i in chunk) * rows) for chunk in chunks]
        turns = itertools.cycle(batches)
        for batch in batches[:2]:
            self.runtime.run(batch)
        done, took = self._loop(lanes, seconds, lambda: next(turns))
        return {"rows_s": done * rows / took, "padding": float(np.mean(padded))}

    def reference(self) -> dict[str, list[str]]:
        """The answers of eager fp32 to each input alone: fp32 in base64."""
        output = self.task.card.signature.outputs[0].name
        answers = [self._eager.run(self._batch([item]))[output] for item in self.items]
        return {"answers": [base64.b64encode(answer.astype(np.float32).tobytes()).decode() for answer in answers]}

    def _batch(self, items: Sequence[Item]) -> Tensors:
        longest = max(item.length for item in items)
        most = self.task.card.batching.max_length
        return self.task.collate(items, padded_length(longest, most) if self._pads else 0)[0]

    def _loop(self, lanes: int, seconds: float, batch: Callable[[], Tensors]) -> tuple[int, float]:
        counts = [0] * lanes
        began = time.monotonic()
        end = began + seconds

        def run(lane: int) -> None:
            torch.set_num_threads(self.cores // lanes)
            while time.monotonic() < end:
                self.runtime.run(batch())
                counts[lane] += 1

        threads = [threading.Thread(target=run, args=(lane,)) for lane in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts), time.monotonic() - began


def main() -> None:
    """The command line."""
    keep_freed_memory()
    try:
        network = InProcessNetwork(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    except CannotCompile as error:
        print(json.dumps({"failed": f"there is no compiled network: {error}"}), flush=True)
        return
    commands: dict[str, Callable[..., object]] = {
        "sweep": network.sweep,
        "rate": network.rate,
        "texts": network.texts,
        "reference": network.reference,
    }
    for line in sys.stdin:
        command = json.loads(line)
        answer = commands[command.pop("do")](**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

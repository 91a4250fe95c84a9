"""The in-process limit: a network in a plain loop, without any of the work around it, in a process of its own.

    python -m benchmarks.participants.in_process MODEL HOME CORES TIER   one command a JSON line in, one answer a JSON line out

TIER is `eager` (fp32, operation by operation), `aotinductor` or `openvino` (compiled, in bf16 if the processor has it). The loop
has the same weights, memory format, allocator settings and number of cores as the server. Commands:

    sweep, rate          find the best batch size and lanes, one of all cores or one a core; measure at these
    sweep_raw, raw       the same with decoding and preprocessing
    costs                the time of a batch by its rows
    texts                texts of different lengths, batched in arrival order or by length
    reference            the answers that the servers' answers are compared with
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.load import inputs
from benchmarks.participants.decoding import ARRANGEMENTS, Decoders
from benchmarks.participants.openvino_network import fast_precision
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.allocator import keep_freed_memory
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.compilers.compiler import AOTINDUCTOR, Compiler
from service.runtime.device import DevicePlan
from service.runtime.network import NetworkRuntime, Runtime
from service.runtime.padding import padded_length
from service.tasks.base import Task
from service.tiering.runtime_benchmark import padding_gains
from service.types import Item, Tensors

BATCHES = (1, 2, 4, 8, 16, 32)
RAW_BATCHES = (1, 4, 8, 16)


@dataclass(frozen=True)
class Loop:
    """The batches of all lanes: the time of each, and the time of the whole loop."""

    batches_s: list[float]
    took_s: float


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
        self.precision = "fp32" if tier == "eager" else fast_precision()
        if tier != "eager":
            compiler = Compiler(home, store, plan)
            if tier not in compiler.compilers:
                raise CannotCompile(f"{tier} is not installed")
            self.runtime = compiler.compile(self.task.card, self.precision, tier).load()
        # The server pads rows to lengths at which compiled code is fast; the loop does so too.
        rows = (self.items * BATCHES[-1])[: self.task.card.batching.max_batch_size]
        self._pads = tier == AOTINDUCTOR and padding_gains(self.task, self.runtime, rows, time.perf_counter)
        self.shapes = sorted({(1, cores), (cores, 1)}) if tier == "eager" else [(cores, 1)]

    def sweep(self, seconds: float) -> dict[str, Any]:
        """Rows a second by batch size and lanes, and the best settings."""
        seen = {}
        sizes = [n for n in BATCHES if n <= self.task.card.batching.max_batch_size]
        for (lanes, _), rows in itertools.product(self.shapes, sizes):
            seen[rows, lanes] = self.rate(rows, lanes, seconds)["rows_s"]
        rows, lanes = max(seen, key=lambda key: seen[key])
        shown = {f"{n} rows, {k} lanes": rate for (n, k), rate in seen.items()}
        return {"rows": rows, "lanes": lanes, "rows_s": seen[rows, lanes], "precision": self.precision, "seen": shown}

    def rate(self, rows: int, lanes: int, seconds: float) -> dict[str, float]:
        """Rows a second of one batch, repeated, and the peak memory of this process."""
        batch = self._batch([self.items[i % len(self.items)] for i in range(rows)])
        self.runtime.run(batch)
        loop = self._loop(lanes, seconds, lambda: batch)
        done, took = len(loop.batches_s), loop.took_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {"rows_s": done * rows / took, "batch_ms": 1000.0 * took * lanes / max(done, 1), "peak_mib": peak}

    def sweep_raw(self, seconds: float) -> dict[str, Any]:
        """Inputs a second from their encoded bytes, by arrangement of threads, batch size and lanes, and the best of all."""
        seen = {}
        sizes = [n for n in RAW_BATCHES if n <= self.task.card.batching.max_batch_size]
        for arrangement, (lanes, _), rows in itertools.product(ARRANGEMENTS, self.shapes, sizes):
            seen[arrangement, rows, lanes] = self.raw(arrangement, rows, lanes, seconds)["rows_s"]
        arrangement, rows, lanes = max(seen, key=lambda key: seen[key])
        shown = {f"{kind}, {n} rows, {k} lanes": rate for (kind, n, k), rate in seen.items()}
        return {"arrangement": arrangement, "rows": rows, "lanes": lanes, "seen": shown}

    def raw(self, arrangement: str, rows: int, lanes: int, seconds: float) -> dict[str, float]:
        """Inputs a second through decoding, preprocessing and the network. See `decoding.ARRANGEMENTS`."""
        with Decoders(self.task, inputs.instances(self.task.card.raw_input), arrangement, rows, self.cores) as decoders:
            self.runtime.run(self._batch(decoders.take()))
            loop = self._loop(lanes, seconds, lambda: self._batch(decoders.take()))
        return {"rows_s": len(loop.batches_s) * rows / loop.took_s}

    def costs(self, lanes: int, seconds: float) -> dict[str, Any]:
        """The mean time of a batch in milliseconds by its rows, with all lanes busy, and the deviation of its logarithm."""
        mean_ms: dict[str, float] = {}
        deviations = []
        for rows in (n for n in BATCHES if n <= self.task.card.batching.max_batch_size):
            batch = self._batch([self.items[i % len(self.items)] for i in range(rows)])
            self.runtime.run(batch)
            times: NDArray[np.float64] = np.array(self._loop(lanes, seconds, partial(_same, batch)).batches_s)
            mean_ms[str(rows)] = 1000.0 * float(times.mean())
            deviations.append(float(np.log(times).std()))
        return {"batch_ms": mean_ms, "sigma": float(np.median(deviations))}

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
        loop = self._loop(lanes, seconds, lambda: next(turns))
        return {"rows_s": len(loop.batches_s) * rows / loop.took_s, "padding": float(np.mean(padded))}

    def reference(self) -> dict[str, list[str]]:
        """The answers of eager fp32 to each input alone: fp32 in base64."""
        output = self.task.card.signature.outputs[0].name
        answers = [self._eager.run(self._batch([item]))[output] for item in self.items]
        return {"answers": [base64.b64encode(answer.astype(np.float32).tobytes()).decode() for answer in answers]}

    def _batch(self, items: Sequence[Item]) -> Tensors:
        longest = max(item.length for item in items)
        most = self.task.card.batching.max_length
        return self.task.collate(items, padded_length(longest, most) if self._pads else 0)[0]

    def _loop(self, lanes: int, seconds: float, batch: Callable[[], Tensors]) -> Loop:
        times: list[list[float]] = [[] for _ in range(lanes)]
        began = time.monotonic()
        end = began + seconds

        def run(lane: int) -> None:
            torch.set_num_threads(self.cores // lanes)
            while time.monotonic() < end:
                tensors = batch()
                start = time.perf_counter()
                self.runtime.run(tensors)
                times[lane].append(time.perf_counter() - start)

        threads = [threading.Thread(target=run, args=(lane,)) for lane in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Loop(list(itertools.chain(*times)), time.monotonic() - began)


def _same(batch: Tensors) -> Tensors:
    return batch


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
        "sweep_raw": network.sweep_raw,
        "raw": network.raw,
        "costs": network.costs,
        "texts": network.texts,
        "reference": network.reference,
    }
    for line in sys.stdin:
        command = json.loads(line)
        answer = commands[command.pop("do")](**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

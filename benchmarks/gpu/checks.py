"""The GPU tests: each returns figures, or raises CheckFailed with a sentence. Those of CUDA alone raise NotHere on a CPU.

staging   copies through pinned buffers are right while several lanes reuse their buffers at once
graphs    replays of graphs are right for every batch size, with other data each time, and outputs outlive the next replay
ledger    a loaded network takes the memory of its weights, and leaves nothing behind
tiers     each tier and precision is as close to eager fp32 on the CPU as the card demands
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import networks
from model_zoo.cards.card import Card
from service.runtime.compilers.cuda_graphs import CudaGraphRuntime
from service.runtime.network import NetworkRuntime, Runtime
from service.runtime.staging import Staging
from service.types import Tensors
from service.verification.probes import closeness, closeness_problem

MIB = 1 << 20
LANES, COPIES = 4, 200
LEFT_MIB = 8.0
"""Memory that may stay after a network was freed: workspaces of libraries."""
SIZES = (1, 3, 8)
"""Rows of the batches of the graphs: each needs a graph, which takes torch some ten seconds to compile."""


class CheckFailed(Exception):
    """A check failed. The text says what was expected and what came."""


class NotHere(Exception):
    """A check needs a device that the machine does not have."""


def staging(device: str, cards: Sequence[Card]) -> dict[str, Any]:
    """Several lanes copy arrays of changing sizes; each copy on the device equals its array."""
    _need_cuda(device)
    stage = Staging(torch.device(device))
    wrong: list[str] = []

    def lane(number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        torch.cuda.set_device(device)
        for turn in range(COPIES):
            size = int(torch.randint(1, 300_000, (1,), generator=generator))
            array = torch.randn(size, generator=generator)
            there = stage.to_device({"x": array})["x"]
            if not torch.equal(there.cpu(), array):
                wrong.append(f"lane {number}, copy {turn}, {size} numbers")

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise CheckFailed(f"{len(wrong)} of {LANES * COPIES} copies differ from their arrays; the first: {wrong[0]}")
    return {"lanes": LANES, "copies": LANES * COPIES}


def graphs(device: str, cards: Sequence[Card]) -> dict[str, Any]:
    """Graphs in fp32 against eager on the same device, at many batch sizes, twice with different data."""
    _need_cuda(device)
    figures = {}
    for card in cards:
        eager = NetworkRuntime(networks.seeded_network(card), device)
        replayed = CudaGraphRuntime(networks.seeded_network(card), device, "fp32", card)
        worst = 0.0
        for size in SIZES:
            first, second = (networks.batch_of(card, size, seed) for seed in (size, size + 100))
            kept = replayed.run(first)
            before = {name: array.copy() for name, array in kept.items()}
            worst = max(worst, _largest_error(replayed.run(second), eager.run(second)))
            if _largest_error(kept, before) > 0.0:
                raise CheckFailed(f"{card.name}: the outputs of {size} rows changed when the next batch ran")
            worst = max(worst, _largest_error(kept, eager.run(first)))
        if not worst <= card.tolerance.max_abs_error:
            raise CheckFailed(
                f"{card.name}: graphs differ from eager by {worst:.3g}; allowed is {card.tolerance.max_abs_error:g}"
            )
        figures[card.name] = {"largest_error": worst}
        eager.free()
        replayed.free()
    return figures


def ledger(device: str, cards: Sequence[Card]) -> dict[str, Any]:
    """The allocator's reading grows by at least the weights at a load, and is back after `free`."""
    _need_cuda(device)
    figures = {}
    for card in cards:
        NetworkRuntime(networks.seeded_network(card), device).run(
            networks.batch_of(card, 1)
        )  # libraries take their workspaces
        before = _allocated(device)
        runtime = NetworkRuntime(networks.seeded_network(card), device)
        weights, grown = runtime.memory_bytes, _allocated(device) - before
        runtime.run(networks.batch_of(card, 4))
        runtime.free()
        del runtime
        left = _allocated(device) - before
        if not weights <= grown + MIB:
            raise CheckFailed(f"{card.name}: its weights take {weights} bytes, but the reading grew by {grown}")
        if left > LEFT_MIB * MIB:
            raise CheckFailed(f"{card.name}: {left / MIB:.1f} MiB stay after it was freed; allowed are {LEFT_MIB:g}")
        figures[card.name] = {"weights_mib": weights / MIB, "grown_mib": grown / MIB, "left_mib": left / MIB}
    return figures


def tiers(device: str, cards: Sequence[Card]) -> dict[str, Any]:
    """Every tier and precision against eager fp32 on the CPU, by the card's own thresholds."""
    figures = {}
    for card in cards:
        rows = min(8 if device.startswith("cuda") else 2, card.batching.max_batch_size)
        batch = networks.batch_of(card, rows)
        reference = networks.rows_of(NetworkRuntime(networks.seeded_network(card), "cpu").run(batch))
        for name, make in _tiers(device).items():
            precision = name.rpartition(" ")[2]
            runtime = make(card, precision)
            answers = [*enumerate(networks.rows_of(runtime.run(batch)))]
            answers += [(n, networks.rows_of(runtime.run(networks.row(batch, n)))[0]) for n in range(rows)]
            found = closeness(card, answers, reference)
            problem = closeness_problem(card, precision, found)
            if problem is not None:
                raise CheckFailed(f"{card.name}, {name}: {problem}")
            figures[f"{card.name}, {name}"] = {"largest_error": found.max_error, "cosine": found.cosine}
            runtime.free()
    return figures


CHECKS: Mapping[str, Callable[[str, Sequence[Card]], dict[str, Any]]] = {
    "staging": staging,
    "ledger": ledger,
    "tiers": tiers,
    "graphs": graphs,
}


def _tiers(device: str) -> Mapping[str, Callable[[Card, str], Runtime]]:
    def eager(card: Card, precision: str) -> Runtime:
        return NetworkRuntime(networks.seeded_network(card), device, precision)

    def compiled(card: Card, precision: str) -> Runtime:
        return CudaGraphRuntime(networks.seeded_network(card), device, precision, card)

    found: dict[str, Callable[[Card, str], Runtime]] = {"eager fp32": eager, "eager bf16": eager}
    if device.startswith("cuda"):
        found |= {"eager fp16": eager, "graphs fp32": compiled, "graphs bf16": compiled}
    return found


def _need_cuda(device: str) -> None:
    if not device.startswith("cuda"):
        raise NotHere("it needs a GPU")


def _allocated(device: str) -> int:
    gc.collect()
    torch.cuda.synchronize(device)
    return torch.cuda.memory_allocated(device)


def _largest_error(outputs: Tensors, expected: Tensors) -> float:
    differences = (np.subtract(outputs[name], expected[name], dtype=np.float64) for name in expected)
    return max(float(np.abs(one).max()) for one in differences)

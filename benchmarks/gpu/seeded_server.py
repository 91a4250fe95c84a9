"""A whole Zoo server with a seeded network on a device.

    python -m benchmarks.gpu.seeded_server DEVICE PRECISION      PRECISION: fp32 (eager), or bf16 (CUDA graphs, eager on a CPU)

It logs its port as a JSON line and serves until it is killed. The settings come from the environment, as for `zoo serve`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.gpu import networks
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from service.registry.loading.loaded import Loaded, LoadedHead
from service.runtime.compilers.cuda_graphs import CudaGraphRuntime
from service.runtime.network import NetworkRuntime, Runtime
from service.server import run
from service.settings import load_settings
from service.tasks.table import task_for

SIZES = (1, 2, 4, 8, 16, 32)
"""Batch sizes of the warm-up: each records a graph, and gives the scheduler a first cost."""


class SeededLoader:
    """Loads seeded networks; there are no files to read."""

    def __init__(self, device: str, precision: str) -> None:
        self._device, self._precision = device, precision

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        """See ModelLoader."""
        began = time.monotonic()
        nowhere = Path()
        task = task_for(card, Materialised(nowhere, nowhere, {}, ""))
        network = networks.seeded_network(card)
        graphs = self._device.startswith("cuda") and self._precision != "fp32"
        runtime: Runtime = (
            CudaGraphRuntime(network, self._device, self._precision, card)
            if graphs
            else NetworkRuntime(network, self._device, self._precision)
        )
        timings = []
        sizes = SIZES if self._device.startswith("cuda") else SIZES[:2]
        for rows in (size for size in sizes if size <= card.batching.max_batch_size):
            batch = networks.batch_of(card, rows)
            runtime.run(batch)
            start = time.perf_counter()
            runtime.run(batch)
            timings.append((rows, 1, time.perf_counter() - start))
        return Loaded(task, runtime, time.monotonic() - began, timings=timings)

    def load_head(self, card: Card) -> LoadedHead:
        """See ModelLoader."""
        raise NotImplementedError(f"{card.name} has no head of its own")


def main() -> None:
    """The command line."""
    device, precision = sys.argv[1:3]
    card = networks.card_of(networks.IMAGES)
    settings = load_settings(
        models=(card.name,),
        port=0,
        http_port=0,
        log_format="json",
        optimize="off",
        device=device,
        lane_processes="off",
    )
    run(settings, Catalog([card]), SeededLoader(device, precision))


if __name__ == "__main__":
    main()

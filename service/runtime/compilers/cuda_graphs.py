"""The compiled tier on a GPU: `torch.compile(mode="reduce-overhead")`, which records CUDA graphs. Thin, and not measured.

A graph has one shape and belongs to the thread that recorded it. So each runtime has one thread that runs all its batches, and
batches are filled up to sizes that are powers of two: as many graphs as there are such sizes (and padded lengths), no more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe, TextRecipe
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.compilers.compiled_cache import CannotCompile, CompiledCache
from service.runtime.network import NetworkRuntime
from service.types import Array, Tensors

FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""Where torch keeps the code that it runs, by the variables that name the places. By itself it takes a folder of the system's for
temporary files, with a name that anybody there can guess and take first."""


@dataclass(frozen=True, slots=True)
class GraphCompilationResult:
    """A runtime that records its graphs in its first batches."""

    runtime: CudaGraphRuntime
    compile_s: float
    cached: bool = False


class GraphCompiler:
    """The same face as `compiler.Compiler`. Kernels are compiled in this process, by threads and processes of torch's own."""

    def __init__(self, home: Path, store: Store, device: str) -> None:
        """`home` is ZOO_HOME; `store` knows the weights."""
        self._cache = CompiledCache(home)
        self._unnamed = [variable for variable in FOLDERS if variable not in os.environ]  # by the operator
        self._store = store
        self._device = device

    def compile(
        self, card: Card, precision: str, before_load: Callable[[], object] = lambda: None
    ) -> GraphCompilationResult:
        """A card's network with compiled kernels. `before_load` as of `Compiler.compile`. Raises CannotCompile."""
        found = self._store.find(card)
        if found is None:
            raise CannotCompile("its weights have left this machine")
        if isinstance(card.recipe, AudioRecipe):
            raise CannotCompile("recordings of any length would need a graph each")
        self._keep_code_private()
        before_load()
        began = time.monotonic()
        runtime = CudaGraphRuntime(load_network(card, found), self._device, precision, card)
        return GraphCompilationResult(runtime, time.monotonic() - began)

    def stop(self) -> None:
        """Nothing to end."""

    def _keep_code_private(self) -> None:
        """Has torch keep its code where only this user can write. Raises CannotCompile."""
        for variable in self._unnamed:
            os.environ[variable] = str(self._cache.subfolder(FOLDERS[variable]))


class CudaGraphRuntime(NetworkRuntime):
    """Runs batches, filled up to a power of two, as CUDA graphs."""

    tier = "compiled"

    def __init__(self, network: torch.nn.Module, device: str, precision: str, card: Card) -> None:
        super().__init__(network, device, precision)
        compiled: Any = torch.compile(self._network, mode="reduce-overhead", dynamic=False)
        self._network = compiled
        self._most = card.batching.max_batch_size
        recipe = card.recipe
        # Inputs whose length is filled up as well: those that a mask keeps out of the answer.
        self._lengths = recipe.max_tokens if isinstance(recipe, TextRecipe) else 0
        self._thread = ThreadPoolExecutor(1, f"graphs-{card.name}", initializer=_own_graphs)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch; see `NetworkRuntime.run`."""
        rows = len(next(iter(tensors.values())))
        filled = {name: self._filled(array) for name, array in tensors.items()}
        run: Callable[[Any], dict[str, Array]] = super().run
        outputs = self._thread.submit(
            run, filled
        ).result()  # copies: a graph's own outputs are overwritten by the next run
        return {name: array[:rows] for name, array in outputs.items()}

    def free(self) -> None:
        """Lets go of the weights and the graphs."""
        super().free()
        self._thread.shutdown(wait=False)

    def _filled(self, array: Array) -> Array:
        """Rows, and tokens where there are any, filled up with zeros to the next power of two."""
        shape = [_power_of_two(len(array), self._most), *array.shape[1:]]
        if self._lengths and array.ndim == 2:
            shape[1] = _power_of_two(shape[1], self._lengths)
        filled = np.zeros(shape, array.dtype)
        filled[tuple(slice(size) for size in array.shape)] = array
        return filled


def _power_of_two(size: int, most: int) -> int:
    return max(size, min(1 << (size - 1).bit_length(), most))


def _own_graphs() -> None:
    """torch keeps its graphs by thread, and knows those threads only that were told (cudagraph_trees.py)."""
    from torch._inductor import cudagraph_trees

    cudagraph_trees._initialize_tls(cudagraph_trees.local)

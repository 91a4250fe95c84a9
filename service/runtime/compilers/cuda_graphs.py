"""The compiled tier on a GPU: `torch.compile(mode="reduce-overhead")`, which records CUDA graphs. Not measured.

A graph has one shape and belongs to the thread that recorded it. Each runtime therefore has one thread that runs all its batches,
and batches are padded to sizes that are powers of two, so that there is one graph for each such size (and padded length).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
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
"""The environment variables that name torch's code caches, and the folders that Zoo uses. torch's default is a folder of
temporary files with a predictable name, which another user may create first."""


GRAPHS = "cuda_graphs"


@dataclass(frozen=True, slots=True)
class PreparedGraphs:
    """A network whose graphs are recorded in its first batches. Nothing of it is on disk."""

    load: Callable[[], CudaGraphRuntime]
    compile_s: float = 0.0
    cached: bool = False

    def trial(self) -> AbstractContextManager[None]:
        """Nothing: no later start loads it."""
        return nullcontext()

    def evidence(self) -> None:
        """None: every start measures."""

    def store_evidence(self, body: dict[str, Any]) -> None:
        """Nothing is stored."""


class GraphCompiler:
    """The interface of `compiler.Compiler` on a GPU. torch compiles the kernels in threads and processes of its own."""

    def __init__(self, home: Path, store: Store, device: str) -> None:
        """`home` is ZOO_HOME; `store` finds the weights."""
        self._cache = CompiledCache(home)
        self._unset = [variable for variable in FOLDERS if variable not in os.environ]  # the operator's choice is kept
        self._store = store
        self._device = device

    @property
    def compilers(self) -> tuple[str, ...]:
        """The names of its compilers."""
        return (GRAPHS,)

    def expect(self) -> None:
        """There is no library to load."""

    def compile(
        self, card: Card, precision: str, compiler: str = GRAPHS, calibration: Callable[[], object] = tuple
    ) -> PreparedGraphs:
        """A card's network with compiled kernels. Raises CannotCompile."""
        if precision == "int8":
            raise CannotCompile("int8 is for processors, by OpenVINO")
        found = self._store.find(card)
        if found is None:
            raise CannotCompile("its weights have left this machine")
        if isinstance(card.recipe, AudioRecipe):
            raise CannotCompile("recordings of different lengths would each need a graph")
        self._keep_code_private()
        return PreparedGraphs(lambda: CudaGraphRuntime(load_network(card, found), self._device, precision, card))

    def stop(self) -> None:
        """There is no worker to end."""

    def _keep_code_private(self) -> None:
        """Make torch store its code where only this user may write. Raises CannotCompile."""
        for variable in self._unset:
            os.environ[variable] = str(self._cache.subfolder(FOLDERS[variable]))


class CudaGraphRuntime(NetworkRuntime):
    """Runs batches, padded to a power of two, as CUDA graphs."""

    tier = "compiled"
    compiler = GRAPHS

    def __init__(self, network: torch.nn.Module, device: str, precision: str, card: Card) -> None:
        super().__init__(network, device, precision)
        compiled: Any = torch.compile(self._network, mode="reduce-overhead", dynamic=False)
        self._network = compiled
        self._most = card.batching.max_batch_size
        recipe = card.recipe
        # Inputs whose length is padded as well: those whose padding a mask excludes.
        self._lengths = recipe.max_tokens if isinstance(recipe, TextRecipe) else 0
        self._thread = ThreadPoolExecutor(1, f"graphs-{card.name}", initializer=_own_graphs)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Run one batch; see `NetworkRuntime.run`."""
        rows = len(next(iter(tensors.values())))
        padded = {name: self._padded(array) for name, array in tensors.items()}
        run: Callable[[Any], dict[str, Array]] = super().run
        outputs = self._thread.submit(
            run, padded
        ).result()  # copies: a graph's own outputs are overwritten by the next run
        return {name: array[:rows] for name, array in outputs.items()}

    def free(self) -> None:
        """Release the weights and the graphs."""
        super().free()
        self._thread.shutdown(wait=False)

    def _padded(self, array: Array) -> Array:
        """Rows, and tokens if there are any, padded with zeros to the next power of two."""
        shape = [_power_of_two(len(array), self._most), *array.shape[1:]]
        if self._lengths and array.ndim == 2:
            shape[1] = _power_of_two(shape[1], self._lengths)
        padded = np.zeros(shape, array.dtype)
        padded[tuple(slice(size) for size in array.shape)] = array
        return padded


def _power_of_two(size: int, most: int) -> int:
    return max(size, min(1 << (size - 1).bit_length(), most))


def _own_graphs() -> None:
    """torch keeps graphs by thread, and each such thread must be initialised (cudagraph_trees.py)."""
    from torch._inductor import cudagraph_trees

    cudagraph_trees._initialize_tls(cudagraph_trees.local)

"""Networks in the format ONNX, run by ONNX Runtime: arrays in, arrays out.

A batch runs in the thread of its lane, and in threads of the session for all further cores. CUDA is thin and not measured.
This module does not import torch: the process that tries out unknown files has no use for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from service.types import Array, Tensors

if TYPE_CHECKING:
    from service.runtime.network import SharedPart

NAME = "onnxruntime"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SAME_NAMES: Mapping[str, str] = MappingProxyType({})
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory")


def library() -> Any:
    """ONNX Runtime, which logs nothing: errors come as exceptions. Raises ImportError."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


class OnnxRuntime:
    """A `Runtime` that runs the graph of an ONNX file. Several lanes may call `run` at once."""

    tier = "eager"
    """Other compilers' networks are compared with this one."""
    compiler = NAME
    precision = "fp32"
    shared: SharedPart | None = None

    def __init__(
        self,
        path: Path,
        device: str,
        threads: int,
        *,
        optimised: bool = True,
        names: Mapping[str, str] = SAME_NAMES,
    ) -> None:
        """Reads the graph, and optimises it unless it is to run as it is written.

        Args:
            device: as torch writes it; without ONNX Runtime's support of CUDA the network runs on the CPU.
            threads: that one batch may use.
            names: those of inputs and outputs in the graph by those that callers use, where they differ.

        Raises an error of ONNX Runtime's for a file that it cannot run.
        """
        runtime = library()
        providers = _providers(device, runtime.get_available_providers())
        self.device = device if len(providers) > 1 else "cpu"
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        # The library's own arena would keep the largest batch of each session. The server has the C library keep freed memory for
        # the next batch of any network (`allocator.py`), which is as fast.
        options.enable_cpu_mem_arena = False
        # A thread that waits for work must not take a core from the lanes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        level = runtime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
        self._session: Any = runtime.InferenceSession(str(path), options, providers=providers)
        self._graph_outputs = [output.name for output in self._session.get_outputs()]
        shown = {inner: name for name, inner in names.items()}
        self._outputs = [shown.get(name, name) for name in self._graph_outputs]
        self._names = names
        self._bytes = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())

    @property
    def memory_bytes(self) -> int:
        """Bytes of the files of the network, which is nearly all that its weights take in memory; 0 after `free`."""
        return self._bytes if self._session is not None else 0

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch. Inputs and outputs share the leading rows axis; the outputs own their memory.

        Raises MemoryError where the batch does not fit, and an error of ONNX Runtime's for values that the graph cannot take.
        """
        session = self._session
        if session is None:
            raise RuntimeError("the network was freed")
        try:
            given = {self._names.get(name, name): np.ascontiguousarray(array) for name, array in tensors.items()}
            found = session.run(self._graph_outputs, given)
        except Exception as error:
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError("ONNX Runtime had no memory for a batch") from error
            raise
        return {name: np.asarray(array) for name, array in zip(self._outputs, found, strict=True)}

    def free(self) -> None:
        """Releases the weights. Batches that run already keep them until they end."""
        self._session = None


def threads_for(lanes: int, threads_per_lane: int) -> int:
    """Threads of a session that several lanes share: with the threads of the lanes they are as many as the cores."""
    return lanes * (threads_per_lane - 1) + 1


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    kind, _, number = device.partition(":")
    if kind == "cuda" and CUDA in available:
        return [(CUDA, {"device_id": int(number or 0)}), CPU]
    return [CPU]

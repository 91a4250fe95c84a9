"""The compiled tier on a CPU by OpenVINO: a converted network (`openvino_conversion.py`), compiled when it is loaded.

OpenVINO runs batches in threads of its own, one stream for each lane; the lane's thread waits for the stream without the
interpreter lock. Streams are not pinned to cores. Their threads inherit the priority of the thread that compiles the network, so
a thread with the priority of the lanes does that.
"""

from __future__ import annotations

import importlib.util
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from service.runtime.compilers.compiled_cache import CompiledPackage
from service.runtime.compilers.compiled_manifest import GRAPH, WEIGHTS
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import lower_priority
from service.runtime.network import SharedPart
from service.runtime.precision import has_instructions
from service.types import Array, Tensors

NAME = "openvino"
Result = TypeVar("Result")
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""Their names in OpenVINO."""
IN_MEMORY = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5, "int8": 1.0}
"""Bytes of the weights in memory for each byte on disk, where they are fp32 or int8."""
TELEMETRY = "openvino_telemetry"


def openvino() -> Any:
    """The library, without its telemetry, which would report to its makers. Raises ImportError."""
    sys.modules.setdefault(TELEMETRY, None)  # type: ignore[arg-type]  # an import of it fails, which the library expects
    try:
        import openvino
    except ImportError:
        raise
    except Exception as error:  # a library that it needs is of another version, or the like
        raise ImportError("openvino does not load", name="openvino") from error
    return openvino


def is_installed() -> bool:
    """Whether the library is there. Imports nothing."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoLoader:
    """Loads converted networks. Construct it in a thread of normal priority; `load` may be called from any."""

    def __init__(self, plan: DevicePlan) -> None:
        self._plan = plan
        self._thread = ThreadPoolExecutor(1, "openvino", initializer=lower_priority)
        self._expected = False
        if is_installed():
            self._thread.submit(lambda: None)  # a thread starts with the priority of the one that submits

    def expect(self) -> None:
        """Has the library loaded, in the background: a network will be loaded soon.

        Loading it holds the interpreter lock for tenths of a second, or for seconds beside busy lanes.
        """
        if not self._expected and is_installed():
            self._expected = True
            self._thread.submit(_load_library)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Has something done in the thread that loads networks."""
        return self._thread.submit(work)

    def load(self, package: CompiledPackage, precision: str) -> OpenVinoRuntime:
        """A network that has run once. Raises OSError, RuntimeError, ImportError."""
        return self._thread.submit(OpenVinoRuntime, package, precision, self._plan).result()


class OpenVinoRuntime:
    """A `Runtime` that runs batches in OpenVINO."""

    tier = "compiled"
    compiler = NAME
    device = "cpu"
    shared: SharedPart | None = None

    def __init__(self, package: CompiledPackage, precision: str, plan: DevicePlan) -> None:
        """Reads and compiles the network, and runs it once. Raises OSError, RuntimeError, ImportError."""
        self.precision = precision
        self._inputs, self._outputs = package.inputs, package.outputs
        graph, weights = package.folder / GRAPH, package.folder / WEIGHTS
        core = openvino().Core()
        network = core.read_model(graph, weights)
        if (len(network.inputs), len(network.outputs)) != (len(self._inputs), len(self._outputs)):
            raise RuntimeError("the converted network has another number of inputs or outputs than its manifest")
        shapes = [port.partial_shape for port in network.inputs]
        datatypes = [port.element_type.to_dtype() for port in network.inputs]
        self._compiled: Any = core.compile_model(network, "CPU", options(precision, plan))
        self._bytes = int(weights.stat().st_size * IN_MEMORY[precision])
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # OpenVINO's binding initialises tables at its first batch, under a lock that it does not release with the interpreter's:
        # two threads that run their first batches at once deadlock. So the first batch runs here, alone in the process.
        least = [np.ones([size.get_min_length() for size in shape]) for shape in shapes]
        arrays = [array.astype(datatype) for array, datatype in zip(least, datatypes, strict=True)]
        self.run(dict(zip(self._inputs, arrays, strict=True)))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights, estimated by their precision; 0 after `free`."""
        return self._bytes if self._compiled is not None else 0

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""
        compiled = self._compiled
        if compiled is None:
            raise RuntimeError("the network was freed")
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = compiled.create_infer_request()  # one for each batch that runs at once
        # The request reads the arrays where they lie, and its outputs are overwritten by its next batch.
        results = request.infer([np.ascontiguousarray(tensors[name]) for name in self._inputs], share_inputs=True)
        outputs = {name: _owned(results[i]) for i, name in enumerate(self._outputs)}
        del results
        if self._compiled is not None:
            self._idle.put(request)
        return outputs

    def free(self) -> None:
        """Releases the weights. Batches that run already keep them until they end."""
        self._compiled = None
        self._idle = queue.SimpleQueue()


def _load_library() -> None:
    with suppress(Exception):  # the load of a network has the same problem, and reports it
        openvino().Core().get_property("CPU", "FULL_DEVICE_NAME")


def options(precision: str, plan: DevicePlan) -> dict[str, Any]:
    """One stream for each lane, with the threads of a lane."""
    if precision == "int8":  # of the operations that are not quantised
        precision = "bf16" if has_instructions("bf16", plan.name) else "fp32"
    return {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "NUM_STREAMS": plan.lanes,
        "INFERENCE_NUM_THREADS": plan.lanes * plan.threads_per_lane,
        "ENABLE_CPU_PINNING": False,
    }


def runtime_precisions(runtime: OpenVinoRuntime) -> dict[str, str]:
    """The precision in which each operation runs, by the names of the operations that are fused in it."""
    return {
        info["originalLayersNames"].astype(str): info["runtimePrecision"].astype(str)
        for info in (node.get_rt_info() for node in runtime._compiled.get_runtime_model().get_ordered_ops())
    }


def _owned(array: Array) -> Array:
    return np.array(array, np.float32 if array.dtype.kind == "f" else array.dtype)

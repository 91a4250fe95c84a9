"""The compiled tier on a CPU: a network as machine code of AOTInductor, with its frozen weights.

The code is called through its C interface (`aoti_runtime/interface.h` of torch) and not through torch's Python binding. The
binding holds the interpreter lock for the whole batch, so that neither the event loop nor another lane could run meanwhile.
ctypes releases the lock. Tensors are passed as the handles that torch's own C++ wrapper code passes.
"""

from __future__ import annotations

import _ctypes
import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from service.runtime.network import SharedPart, in_memory_format
from service.types import Array, Tensors

PAGE_OUT = 21
"""MADV_PAGEOUT of Linux 5.4 and later; other kernels return an error and keep the pages."""
_SIZE, _POINTER = ctypes.c_size_t, ctypes.c_void_p
_FUNCTIONS: dict[str, list[type]] = {
    "CreateWithDevice": [_POINTER, _SIZE, ctypes.c_char_p, ctypes.c_char_p],
    "Delete": [_POINTER],
    "Run": [_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _POINTER],
    "GetNumInputs": [_POINTER, _POINTER],
    "GetNumOutputs": [_POINTER, _POINTER],
    "GetNumConstants": [_POINTER, _POINTER],
    "GetConstantDataSize": [_POINTER, _SIZE, _POINTER],
}

_address_of = ctypes.pythonapi.PyCapsule_GetPointer
_address_of.restype, _address_of.argtypes = _POINTER, [ctypes.py_object, ctypes.c_char_p]
_capsule_of = ctypes.pythonapi.PyCapsule_New
_capsule_of.restype, _capsule_of.argtypes = ctypes.py_object, [_POINTER, ctypes.c_char_p, _POINTER]


class CompiledNetwork:
    """A loaded library and its weights. It is unloaded when its last reference goes; a batch that runs holds one."""

    def __init__(self, library: Path, runners: int) -> None:
        """`runners` is the number of batches that may run at once; they share the weights. Raises RuntimeError, OSError."""
        self._library = ctypes.CDLL(str(library))
        self._container = _POINTER()
        self._call("CreateWithDevice", ctypes.byref(self._container), runners, b"cpu", None)
        self.inputs = self._count("GetNumInputs")
        self.outputs = self._count("GetNumOutputs")
        sizes = [self._count("GetConstantDataSize", i) for i in range(self._count("GetNumConstants"))]
        self.memory_bytes = sum(sizes)
        _page_out(library)

    def run(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run one batch; inputs have the order and the memory format for which they were compiled."""
        handles = [_address_of(c, None) for c in torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(list(tensors))]
        inputs, outputs = (_POINTER * self.inputs)(*handles), (_POINTER * self.outputs)()
        # The call takes over the handles of the inputs; the caller owns those of the outputs.
        self._call("Run", self._container, inputs, self.inputs, outputs, self.outputs, None, None)
        capsules = [_capsule_of(handle, None, None) for handle in outputs]
        results: list[torch.Tensor] = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(capsules)
        return results

    def _count(self, name: str, *arguments: int) -> int:
        value = _SIZE()
        self._call(name, self._container, *arguments, ctypes.byref(value))
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, f"AOTInductorModelContainer{name}")
        if function.argtypes is None:
            function.argtypes = _FUNCTIONS[name]
        if function(*arguments):
            raise RuntimeError(f"the compiled network failed at {name}; standard error says why")

    def __del__(self) -> None:
        library = getattr(self, "_library", None)
        if library is None:
            return
        if self._container:
            self._call("Delete", self._container)
        _ctypes.dlclose(library._handle)  # with g++'s linkage some pages of code stay mapped; the file may be deleted


class CompiledRuntime:
    """A `Runtime` that runs batches through a compiled network."""

    tier = "compiled"
    compiler = "aotinductor"
    device = "cpu"
    shared: SharedPart | None = None

    def __init__(
        self, library: Path, inputs: Sequence[str], outputs: Sequence[str], precision: str, runners: int
    ) -> None:
        """`inputs` and `outputs` are names in the order of the compiled code. Raises RuntimeError, OSError."""
        self.precision = precision
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._network: CompiledNetwork | None = CompiledNetwork(library, runners)
        if (self._network.inputs, self._network.outputs) != (len(self._inputs), len(self._outputs)):
            raise RuntimeError("the compiled network has another number of inputs or outputs than its manifest")

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights in the code; 0 after `free`."""
        return self._network.memory_bytes if self._network is not None else 0

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Run one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""
        network = self._network
        if network is None:
            raise RuntimeError("the network was freed")
        with torch.inference_mode():
            inputs = [in_memory_format(torch.from_numpy(tensors[name])) for name in self._inputs]
            results = network.run(inputs)
            # Copied: an output may be a view of an input or of a buffer of the next batch.
            return {
                name: np.array((t.float() if t.is_floating_point() else t).numpy())
                for name, t in zip(self._outputs, results, strict=True)
            }

    def free(self) -> None:
        """Release the weights. Batches that run already keep them until they end."""
        self._network = None


def _page_out(library: Path) -> None:
    """Return the pages of a library to the system: its weights were copied, and its code is read again when it is used."""
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None or not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(str(library)):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                madvise(_POINTER(start), _SIZE(end - start), PAGE_OUT)

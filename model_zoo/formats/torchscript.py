"""The tensors of a TorchScript archive, read without running its code.

A TorchScript archive is a zip file (the format of ``torch.jit.save``): ``<root>/data.pkl`` is a pickle of the module tree,
``<root>/data/<n>`` are the raw storages, and ``<root>/code/`` holds the program. ``torch.jit.load`` would compile that program,
and only the weights are needed. So ``code/`` is never opened, and the pickle is read by an unpickler that knows three kinds of
names: the constructor of a tensor, the kinds of storage, and an inert stand-in for every class of the archive. Any other name
in the pickle is refused, as ``torch.load(weights_only=True)`` does for plain checkpoints (it refuses these archives
altogether).
"""

import collections
import io
import math
import pickle
import zipfile
from typing import Any

import torch

__all__ = ["UnsafeArchive", "state_dict_of"]

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MAX_BYTES = 4 << 30  # of one storage


class UnsafeArchive(Exception):
    """The archive is not a TorchScript archive of plain modules and tensors; the message gives the reason."""


class _Module:
    """A stand-in for the classes of the archive: it takes the attributes of an instance and has no behaviour."""

    attributes: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _StorageKind:
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


def state_dict_of(archive: bytes) -> dict[str, torch.Tensor]:
    """Every tensor of the module tree, by its dotted path, as ``state_dict`` of the loaded module would name it.

    Empty tensors, which scripted modules use for unset state, are left out. Tensors are on the CPU and
    own their memory.

    Raises:
        UnsafeArchive: it is not such an archive, or its pickle names anything beyond modules and tensors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            roots = {name.partition("/")[0] for name in opened.namelist()}
            if len(roots) != 1:
                raise UnsafeArchive("the archive does not have a single root folder")
            root = roots.pop()
            order = f"{root}/byteorder"  # archives of torch before 2.1 do not name it: they are little-endian
            if order in opened.namelist() and opened.read(order).strip() != b"little":
                raise UnsafeArchive("the tensors are not little-endian")
            tree = _Reader(opened, root).load()
    except UnsafeArchive:
        raise
    except Exception as error:  # damaged pickles and tensors beyond their storage may raise nearly any exception
        raise UnsafeArchive(f"it is not a TorchScript archive of plain modules ({error})") from error
    found: dict[str, torch.Tensor] = {}
    _collect(tree, "", found)
    return found


def _collect(node: object, path: str, found: dict[str, torch.Tensor]) -> None:
    if not isinstance(node, _Module):
        raise UnsafeArchive("the archive does not hold a module")
    for name, value in node.attributes.items():
        if isinstance(value, torch.Tensor) and value.numel() > 0:
            found[path + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{path}{name}.", found)


class _Reader(pickle.Unpickler):
    """An unpickler that can only call the functions of this module."""

    def __init__(self, opened: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(opened.read(f"{root}/data.pkl")))
        self._opened = opened
        self._root = root
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _DTYPES:
            return _StorageKind(_DTYPES[name])
        if module == "torch.jit._pickle" and name in ("build_intlist", "build_doublelist", "build_boollist"):
            return list
        raise UnsafeArchive(f"its pickle asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """A storage, as a flat tensor: ``("storage", kind, key, device, number of elements)``."""
        tag, kind, key, _device, count = pid
        if tag != "storage" or not isinstance(kind, _StorageKind):
            raise UnsafeArchive("its pickle refers to something that is no storage")
        if key not in self._storages:
            info = self._opened.getinfo(f"{self._root}/data/{key}")
            if info.file_size != count * kind.dtype.itemsize or info.file_size > _MAX_BYTES:
                raise UnsafeArchive("a storage does not have the size it claims")
            raw = bytearray(self._opened.read(info))
            self._storages[key] = torch.frombuffer(raw, dtype=kind.dtype) if raw else torch.empty(0, dtype=kind.dtype)
        return self._storages[key]


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_unused: object
) -> torch.Tensor:
    """A tensor over a storage; ``as_strided`` refuses to reach beyond the storage."""
    if math.prod(size) == 0:
        return torch.empty(size, dtype=storage.dtype)
    return storage.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)

"""Weights of a base in memory once, for all networks that are made of the same file and do not change it."""

import threading
from pathlib import Path
from weakref import WeakValueDictionary

from safetensors.torch import load_file
from torch import Tensor

__all__ = ["SharedWeights", "shared_weights"]


class SharedWeights:
    """The tensors of one file, read-only by convention. Lives as long as a network holds it."""

    def __init__(self, digest: str, path: Path) -> None:
        self.digest = digest
        # Copied out of the file's mapping, where tensors are not aligned as kernels like them.
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in load_file(path).items()}
        self._places = {tensor.data_ptr() for tensor in self.tensors.values()}

    def bytes_in(self, tensors: list[Tensor]) -> int:
        """How many bytes of these tensors are ours: none of one that was cast, moved, or laid out anew."""
        return sum(t.numel() * t.element_size() for t in tensors if t.data_ptr() in self._places)


_lock = threading.Lock()
_held: WeakValueDictionary[str, SharedWeights] = WeakValueDictionary()


def shared_weights(digest: str, path: Path) -> SharedWeights:
    """The tensors of a file by its sha256, read where nobody holds them yet. From any thread. Raises as `load_file`."""
    with _lock:
        found = _held.get(digest)
        if found is None:
            found = _held[digest] = SharedWeights(digest, path)
        return found

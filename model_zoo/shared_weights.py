"""Weights of a base in memory once, for all networks that use the same file and do not change it."""

import threading
from pathlib import Path
from weakref import WeakValueDictionary

from safetensors.torch import load_file
from torch import Tensor

__all__ = ["SharedWeights", "shared_weights"]


class SharedWeights:
    """The tensors of one file, read-only by convention; freed with the last network that holds them."""

    def __init__(self, digest: str, path: Path) -> None:
        self.digest = digest
        # Copied out of the mapping of the file, where tensors are not aligned as the kernels need.
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in load_file(path).items()}
        self._addresses = {tensor.data_ptr() for tensor in self.tensors.values()}

    def bytes_in(self, tensors: list[Tensor]) -> int:
        """Bytes of these tensors that are shared; a tensor that was cast, moved or laid out anew is not."""
        return sum(t.numel() * t.element_size() for t in tensors if t.data_ptr() in self._addresses)


_lock = threading.Lock()
_loaded: WeakValueDictionary[str, SharedWeights] = WeakValueDictionary()


def shared_weights(digest: str, path: Path) -> SharedWeights:
    """The tensors of a file by its sha256; read if they are not in memory. Thread-safe. Raises as `load_file`."""
    with _lock:
        found = _loaded.get(digest)
        if found is None:
            found = _loaded[digest] = SharedWeights(digest, path)
        return found

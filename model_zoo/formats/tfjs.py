"""Weights of TensorFlow.js: a manifest in JSON, and files of raw numbers → arrays by name.

The manifest is the member ``weightsManifest`` of a ``model.json``, of a layers model or of a graph model. It lists groups of
weights; the numbers of a group follow each other in its files, row-major, little-endian and without gaps, in the order of the
list (tfjs-core, ``io/types.ts`` and ``io_utils.ts``). A weight may be stored in fewer bits than it has: as float16, or as whole
numbers ``q`` for ``q * scale + min``.

Nothing of the file is run: the graph in the same JSON is not read here. Every size is checked against the bytes that are there
before an array is made, so that a manifest cannot claim more memory than its files have.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo import strict_json

__all__ = ["MANIFEST_ROLE", "arrays_of", "state_dict_of"]

MANIFEST_ROLE = "manifest"
"""Role, in the files of a card, of the JSON; the other files are those of numbers, found by their names."""
MOST_WEIGHTS = 100_000
MOST_AXES = 8
_LONGEST_NAME = 500

_STORED: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int32": np.dtype("<i4"),
    "uint8": np.dtype("<u1"),
    "uint16": np.dtype("<u2"),
    "bool": np.dtype("<u1"),
}
_READ: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "int32": np.dtype(np.int32),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
"""Datatypes that a weight may have; texts and complex numbers are refused."""
_SCALED = ("uint8", "uint16")
_PLAIN = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True, slots=True)
class _Weight:
    """One entry of the manifest, checked."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    """Datatype in the file."""
    scale: float = 1.0
    least: float = 0.0
    scaled: bool = False

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * _STORED[self.stored].itemsize


def arrays_of(manifest: bytes, files: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """The weights by their names, in the order and the layout of the manifest; those of fewer bits as what they stand for.

    Args:
        manifest: content of the ``model.json``.
        files: contents of the files of numbers by their names, as the manifest writes them.

    Raises:
        ValueError: it is no such manifest; a file is missing, too short or too long; a datatype is not of numbers; a name occurs
            twice.
    """
    document = strict_json.read(manifest)
    groups = document.get("weightsManifest") if isinstance(document, dict) else None
    if not isinstance(groups, list):
        raise ValueError("the document has no list weightsManifest")
    arrays: dict[str, NDArray[Any]] = {}
    for group in groups:
        content, weights = _content(group, files), _weights(group)
        if len(arrays) + len(weights) > MOST_WEIGHTS:
            raise ValueError(f"the manifest has more than {MOST_WEIGHTS:,} weights")
        claimed = sum(weight.bytes for weight in weights)
        if claimed != len(content):
            raise ValueError(f"the manifest describes {claimed:,} bytes, its files have {len(content):,}")
        at = 0
        for weight in weights:
            if weight.name in arrays:
                raise ValueError(f"the manifest has two weights of the name {weight.name!r}")
            arrays[weight.name] = _array(weight, content[at : at + weight.bytes])
            at += weight.bytes
    return arrays


def state_dict_of(manifest: bytes, files: Mapping[str, bytes]) -> dict[str, torch.Tensor]:
    """The weights of a layers model as ``layer.name``, with torch's names and layout for dense, convolution and normalisation
    layers; other weights keep their names and layout. Raises ValueError as ``arrays_of``."""
    state: dict[str, torch.Tensor] = {}
    for path, array in arrays_of(manifest, files).items():
        layer, _, name = path.rpartition("/")
        known, converted = _as_torch(name, array)
        key = f"{layer.replace('/', '.')}.{known}" if layer else known
        if key in state:
            raise ValueError(f"two weights have the name {key!r} in torch")
        state[key] = torch.from_numpy(np.ascontiguousarray(converted))
    return state


def _as_torch(name: str, array: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Name and array of a layer's weight in torch's layout."""
    if name == "kernel" and array.ndim == 4:  # (height, width, in, out)
        return "weight", array.transpose(3, 2, 0, 1)
    if name == "depthwise_kernel" and array.ndim == 4:  # (height, width, in, multiplier)
        height, width, inputs, times = array.shape
        return "weight", array.transpose(2, 3, 0, 1).reshape(inputs * times, 1, height, width)
    if name == "kernel" and array.ndim == 2:  # (in, out)
        return "weight", array.T
    return _PLAIN.get(name, name), array


def _content(group: Any, files: Mapping[str, bytes]) -> bytes:
    """The numbers of a group: its files, one after another."""
    paths = group.get("paths") if isinstance(group, dict) else None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError("a group of the manifest has no list of paths")
    parts: list[bytes] = []
    for path in paths:
        content = files.get(PurePosixPath(path).name)
        if content is None:
            raise ValueError(f"the manifest names the file {path[:100]!r}, which is not there")
        parts.append(content)
    if len({*paths}) != len(paths):
        raise ValueError("the manifest names a file twice")
    return b"".join(parts) if len(parts) != 1 else parts[0]


def _weights(group: Any) -> Sequence[_Weight]:
    entries = group.get("weights")
    if not isinstance(entries, list) or len(entries) > MOST_WEIGHTS:
        raise ValueError(f"a group of the manifest has no list of at most {MOST_WEIGHTS:,} weights")
    return [_weight(entry) for entry in entries]


def _weight(entry: Any) -> _Weight:
    """Raises ValueError for an entry that is not as TensorFlow.js writes it."""
    if not isinstance(entry, dict):
        raise ValueError("a weight of the manifest is no object")
    name, shape, dtype = entry.get("name"), entry.get("shape"), entry.get("dtype")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError("a weight of the manifest has no name")
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(_is_size(size) for size in shape):
        raise ValueError(f"the weight {name!r} has no shape of at most {MOST_AXES} axes")
    if not isinstance(dtype, str) or dtype not in _READ:
        raise ValueError(f"the weight {name!r} is not of the datatypes {', '.join(_READ)}")
    how = entry.get("quantization")
    if how is None:
        return _Weight(name, tuple(shape), dtype, dtype)
    stored = how.get("dtype") if isinstance(how, dict) else None
    if stored == "float16" and dtype == "float32":
        return _Weight(name, tuple(shape), dtype, stored)
    if stored not in _SCALED or dtype not in ("float32", "int32"):
        raise ValueError(f"the weight {name!r} is stored in a way that is not known")
    scale, least = how.get("scale"), how.get("min", 0.0)
    if not _is_number(scale) or not _is_number(least):
        raise ValueError(f"the weight {name!r} has no scale and min")
    return _Weight(name, tuple(shape), dtype, stored, float(scale), float(least), scaled=True)


def _array(weight: _Weight, content: bytes) -> NDArray[Any]:
    stored = np.frombuffer(content, _STORED[weight.stored]).reshape(weight.shape)
    if not weight.scaled:
        return stored.astype(_READ[weight.dtype])
    # In float32, as TensorFlow.js computes it.
    values = stored.astype(np.float32) * np.float32(weight.scale) + np.float32(weight.least)
    return np.rint(values).astype(np.int32) if weight.dtype == "int32" else values


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 40


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

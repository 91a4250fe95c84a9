"""Weights of a checkpoint of TensorFlow (its second format) → a state dict in torch's layout. TensorFlow is not needed.

A checkpoint is an index, a sorted table as LevelDB writes it whose values are messages ``BundleEntryProto``, and files of
numbers. The index says of each tensor its type, its shape and its place. Kernels of convolutions and matrices get torch's layout;
what only training needs, such as the moments of Adam, is left out.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = ["INDEX_ROLE", "state_dict_of"]

INDEX_ROLE = "index"
"""Role of the index."""
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5
"""Bytes after a block: how it is compressed, and a checksum."""
_DT_FLOAT = 1
_OF_TRAINING = ("/Adam", "/Adam_1", "/Momentum", "_power", "global_step")
_KERNEL = "/kernel"


def state_dict_of(index: bytes, numbers: bytes) -> dict[str, torch.Tensor]:
    """The tensors in float32 by their names.

    Args:
        index: content of the file ``.index``.
        numbers: content of the only file ``.data-00000-of-00001``.

    Raises:
        ValueError: the index is damaged or compressed, or a tensor is no float32, or lies beyond the end of the numbers.
    """
    state: dict[str, torch.Tensor] = {}
    for key, value in _table(index):
        name = key.decode("utf-8")
        if not name or name.endswith(_OF_TRAINING):  # the empty name is the header
            continue
        shape, begin, end = _entry(name, value)
        if not 0 <= begin < end <= len(numbers) or end - begin != 4 * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"{name[:100]!r} has another size than its shape, or lies beyond the end")
        array = np.frombuffer(numbers[begin:end], "<f4").reshape(shape)
        if name.endswith(_KERNEL) and array.ndim in (2, 4):  # (height, width, in, out), or (in, out)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        state[name] = torch.from_numpy(np.array(array, np.float32, order="C"))
    return state


def _entry(name: str, value: bytes) -> tuple[tuple[int, ...], int, int]:
    """Shape, first byte and last byte + 1 of a tensor."""
    fields: dict[int, Any] = dict(_fields(value))
    if fields.get(1) != _DT_FLOAT or fields.get(3, 0) != 0:
        raise ValueError(f"{name[:100]!r} is no float32 of the first file")
    shape = fields.get(2, b"")
    sizes: list[Any] = [
        dict(_fields(dim)).get(1, 0) for number, dim in _fields(shape) if number == 2 and isinstance(dim, bytes)
    ]
    begin, size = fields.get(4, 0), fields.get(5, 0)
    if not all(isinstance(one, int) and 0 <= one < 1 << 40 for one in (*sizes, begin, size)):
        raise ValueError(f"the entry of {name[:100]!r} is damaged")
    return tuple(sizes), begin, begin + size


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table."""
    if len(content) < _FOOTER or not content.endswith(_MAGIC):
        raise ValueError("the file is no index of a checkpoint")
    at = len(content) - _FOOTER
    for _ in range(2):  # the place of the metadata
        _, at = _varint(content, at)
    for _, handle in _block(content, *_handle(content, at)):
        yield from _block(content, *_handle(handle, 0))


def _handle(content: bytes, at: int) -> tuple[int, int]:
    begin, at = _varint(content, at)
    size, _ = _varint(content, at)
    return begin, size


def _block(content: bytes, begin: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block. A key shares its beginning with the one before."""
    if begin + size + _TRAILER > len(content) or size < 4 or content[begin + size]:
        raise ValueError("a block of the index is cut off or compressed")
    block = content[begin : begin + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("an entry of the index is damaged")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and contents of the fields of a message of Protocol Buffers."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 2 | 5:
                size, at = _varint(message, at) if tag & 7 == 2 else (4, at)
                if at + size > len(message):
                    raise ValueError("a field of the index is cut off")
                yield tag >> 3, message[at : at + size]
                at += size
            case _:
                raise ValueError("a field of the index has a type that it cannot have")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place after it."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number of the index is cut off")

"""Tensors of a checkpoint of TensorFlow are found by its index, and no damaged index is read."""

import struct
from typing import Any

import numpy as np
import pytest

from model_zoo.formats.tf_checkpoint import state_dict_of

KERNEL = np.arange(3 * 2 * 5 * 4, dtype=np.float32).reshape(3, 2, 5, 4)  # height, width, in, out
MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
TENSORS = {
    "1CNN/bias": np.ones(4, np.float32),
    "1CNN/kernel": KERNEL,
    "1CNN/kernel/Adam": KERNEL,
    "beta1_power": np.float32(0.9),
    "dense/kernel": MATRIX,
}


def varint(number: int) -> bytes:
    groups = []
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(array: Any, offset: int, dtype: int = 1, size: int | None = None) -> bytes:
    shape = b"".join(field(2, field(1, n)) for n in array.shape)
    crc = varint(6 << 3 | 5) + b"\0\0\0\0"
    return field(1, dtype) + field(2, shape) + field(4, offset) + field(5, array.nbytes if size is None else size) + crc


def block(entries: list[tuple[str, bytes]], compressed: int = 0) -> bytes:
    content, before = b"", ""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), min(len(key), len(before))
        )
        own = key[shared:].encode()
        content += varint(shared) + varint(len(own)) + varint(len(value)) + own + value
        before = key
    return content + struct.pack("<II", 0, 1) + bytes([compressed]) + b"\0\0\0\0"


def index_of(entries: list[tuple[str, bytes]], compressed: int = 0) -> bytes:
    data = block([("", field(1, 1)), *entries], compressed)
    handle = varint(0) + varint(len(data) - 5)
    top = block([("z", handle)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(top) - 5)
    return data + top + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def checkpoint() -> tuple[bytes, bytes]:
    entries, numbers = [], b""
    for name, array in TENSORS.items():
        entries.append((name, entry(array, len(numbers))))
        numbers += array.tobytes()
    return index_of(entries), numbers


def test_weights_get_the_layout_of_torch_and_those_of_the_training_are_left_out() -> None:
    state = state_dict_of(*checkpoint())
    assert [*state] == ["1CNN/bias", "1CNN/kernel", "dense/kernel"]
    np.testing.assert_array_equal(state["1CNN/kernel"].numpy(), KERNEL.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state["dense/kernel"].numpy(), MATRIX.T)
    assert state["1CNN/bias"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "index",
    [
        b"",
        checkpoint()[0][:-1],
        checkpoint()[0][20:],
        index_of([("x", entry(MATRIX, 0, dtype=3))]),
        index_of([("x", entry(MATRIX, 1 << 20))]),
        index_of([("x", entry(MATRIX, 0, size=20))]),
        index_of([("x", b"\x0a\xff\xff")]),
        index_of([("x", b"\x09abc")]),
        index_of([("x", entry(MATRIX, 0))], compressed=1),
    ],
)
def test_damaged_index_is_refused(index: bytes) -> None:
    with pytest.raises(ValueError, match=r"index|block|size|float32|entry"):
        state_dict_of(index, checkpoint()[1])

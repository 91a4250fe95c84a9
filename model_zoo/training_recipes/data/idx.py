"""Arrays of bytes in the format IDX, in which the MNIST family of data sets is kept."""

import gzip
import math
import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_idx"]

_BYTES = 0x08


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """A gzipped file of unsigned bytes → array of the shape that its header says.

    Raises:
        ValueError: it holds other numbers, or another count of them.
    """
    plain = gzip.decompress(content)
    zero, kind, axes = struct.unpack(">HBB", plain[:4])
    if (zero, kind) != (0, _BYTES):
        raise ValueError("expected an array of unsigned bytes in the format IDX")
    shape = struct.unpack(f">{axes}I", plain[4 : 4 + 4 * axes])
    values = np.frombuffer(plain, np.uint8, offset=4 + 4 * axes)
    if len(values) != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} bytes, got {len(values)}")
    return values.reshape(shape)

"""`model.bin` of CTranslate2 (https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py), version 6."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VERSION = 6
_KINDS = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}


def read_ctranslate2(content: bytes) -> Mapping[str, NDArray[Any]]:
    """Arrays by name. Raises ValueError for another version or another kind of number."""
    place = 0

    def plain(form: str) -> Any:
        nonlocal place
        place += struct.calcsize(form)
        return struct.unpack_from(form, content, place - struct.calcsize(form))[0]

    def string() -> str:
        nonlocal place
        length = plain("<H")
        place += length
        return content[place - length : place - 1].decode()

    if (version := plain("<I")) != _VERSION:
        raise ValueError(f"expected a file of version {_VERSION}, got {version}")
    string()  # the kind of network, and its revision
    plain("<I")
    arrays = {}
    for _ in range(plain("<I")):
        name = string()
        shape = tuple(plain("<I") for _ in range(plain("<B")))
        kind, size = plain("<B"), plain("<I")
        if kind not in _KINDS:
            raise ValueError(f"expected numbers of the kinds {sorted(_KINDS)}, got {kind}")
        form = np.dtype(_KINDS[kind])
        arrays[name] = np.frombuffer(content, form, size // form.itemsize, place).reshape(shape)
        place += size
    return arrays

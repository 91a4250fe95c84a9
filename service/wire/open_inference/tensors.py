"""Tensors of the Open Inference Protocol ↔ NumPy.

In: raw bytes become read-only views where the element type has a fixed size; nothing is allocated before the announced shape
was compared with the number of bytes. Out: always raw. Raw means little-endian and row-major, with each BYTES element behind its
length in four bytes. BF16 has no NumPy type; the server uses float32 for it.

Every mistake of a caller raises InvalidInput with the path of the field, what was expected, and what was sent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import DTYPES, Array
from service.wire.open_inference.raw_contents import Raws
from service.wire.open_inference.shared_tensors import BYTE_SIZE, SharedSpan

CONTENTS_FIELD = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of typed elements for each datatype. FP16 and BF16 have none."""

NARROW = frozenset({"UINT8", "UINT16", "INT8", "INT16"})
"""Datatypes whose typed contents are wider numbers, so that a value may not fit."""

MAX_RANK = 32
MAX_ELEMENTS = 1 << 48  # far beyond any message, far below what overflows NumPy's sizes
LENGTH = struct.Struct("<I")


# ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────


def decode_inputs(
    request: pb.ModelInferRequest, raws: Raws | None = None, spans: Mapping[int, SharedSpan] | None = None
) -> list[Array]:
    """The arrays of all inputs, in order. Those in the message are either all raw or all typed.

    `raws`: the raw contents, where they were taken out of the message before (`raw_contents.py`). `spans`: the inputs in shared
    memory, by index; the raw contents leave them out. Blocks while shared memory is copied.
    """
    inputs = request.inputs
    if raws is None:
        raws = request.raw_input_contents
    spans = spans or {}
    sent = [i for i in range(len(inputs)) if i not in spans]
    arrays = {i: decode_shared(inputs[i], span) for i, span in spans.items()}
    if not raws:
        arrays |= {i: decode_typed(inputs[i], f"inputs[{i}]") for i in sent}
        return [arrays[i] for i in range(len(inputs))]
    for i in sent:
        if inputs[i].HasField("contents"):
            raise InvalidInput(f"inputs[{i}].contents", "must be unset, since raw_input_contents is used")
    if len(raws) != len(sent):
        where = " that are not in shared memory" if spans else ""
        raise InvalidInput(
            "raw_input_contents", f"expected one entry for each of {len(sent)} inputs{where}, got {len(raws)}"
        )
    for at, i in enumerate(sent):
        tensor = inputs[i]
        arrays[i] = decode_raw(tensor.datatype, tensor.shape, raws[at], f"inputs[{i}]", f"raw_input_contents[{at}]")
    return [arrays[i] for i in range(len(inputs))]


def decode_shared(tensor: pb.ModelInferRequest.InferInputTensor, span: SharedSpan) -> Array:
    """The array of an input in shared memory. The size is compared with the shape before anything is copied. Blocks."""
    datatype, shape, field = tensor.datatype, tensor.shape, span.field
    size_field = f"{field}.parameters[{BYTE_SIZE}]"
    if datatype != "BYTES":
        if datatype not in DTYPES and datatype != "BF16":
            raise _unknown(datatype, field)
        itemsize = 2 if datatype == "BF16" else DTYPES[datatype].itemsize
        size = element_count(shape, f"{field}.shape") * itemsize
        if span.size != size:
            raise _wrong_size(size, datatype, shape, size_field, span.size)
    return decode_raw(datatype, shape, span.read(), field, size_field)


def decode_raw(datatype: str, shape: Sequence[int], data: bytes | memoryview, field: str, data_field: str) -> Array:
    """An array of `shape` over raw `data`: a read-only view where the element type has a fixed size.

    `field` is the path of the message that holds `datatype` and `shape`, `data_field` that of the bytes.
    """
    count = element_count(shape, f"{field}.shape")
    if datatype == "BYTES":
        return _split_bytes(data, count, shape, data_field)
    if datatype == "BF16":
        _expect_size(data, count * 2, datatype, shape, data_field)
        high = np.frombuffer(data, np.dtype("<u2"), count) if count else np.zeros(0, np.dtype("<u2"))
        return (high.astype(np.uint32) << 16).view(np.float32).reshape(tuple(shape))
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise _unknown(datatype, field)
    _expect_size(data, count * dtype.itemsize, datatype, shape, data_field)
    if not count:
        return np.zeros(tuple(shape), dtype)
    if datatype == "BOOL" and (largest := np.frombuffer(data, np.uint8).max()) > 1:
        raise InvalidInput(data_field, f"BOOL elements are 0 or 1, got {largest}")
    return np.frombuffer(data, dtype).reshape(tuple(shape))


def decode_typed(tensor: pb.ModelInferRequest.InferInputTensor, field: str) -> Array:
    """The array of an input whose elements are in `contents`. `field` is the input's path."""
    datatype, shape = tensor.datatype, tensor.shape
    count = element_count(shape, f"{field}.shape")
    name = CONTENTS_FIELD.get(datatype)
    if name is None:
        if datatype in ("FP16", "BF16"):
            raise InvalidInput(f"{field}.contents", f"{datatype} has no typed contents; send it as raw_input_contents")
        raise _unknown(datatype, field)
    for descriptor, _ in tensor.contents.ListFields():
        if descriptor.name != name:
            raise InvalidInput(f"{field}.contents", f"{datatype} elements belong in {name}, got {descriptor.name}")
    values = getattr(tensor.contents, name)
    if len(values) != count:
        raise InvalidInput(
            f"{field}.contents.{name}", f"expected {count} elements for shape {list(shape)}, got {len(values)}"
        )
    if datatype == "BYTES":
        return _objects(values, shape)
    if datatype not in NARROW:
        return np.array(values, DTYPES[datatype]).reshape(tuple(shape))
    wide, limits = np.array(values, np.int64), np.iinfo(DTYPES[datatype])
    wrong = np.flatnonzero((wide < limits.min) | (wide > limits.max))
    if wrong.size:
        raise InvalidInput(
            f"{field}.contents.{name}[{wrong[0]}]",
            f"{datatype} holds {limits.min} to {limits.max}, got {wide[wrong[0]]}",
        )
    return wide.astype(DTYPES[datatype]).reshape(tuple(shape))


def element_count(shape: Sequence[int], field: str) -> int:
    """Number of elements of a tensor of that shape. Raises InvalidInput for a shape that no array can have; allocates nothing."""
    if len(shape) > MAX_RANK:
        raise InvalidInput(field, f"at most {MAX_RANK} axes, got {len(shape)}")
    count = bound = 1
    for size in shape:
        if size < 0:
            raise InvalidInput(field, f"sizes are 0 or more, got {list(shape)}")
        count *= size
        bound *= size or 1  # an axis of 0 must not hide others that are too large
    if bound > MAX_ELEMENTS:
        raise InvalidInput(field, f"{list(shape)} is larger than any message can hold")
    return count


def _expect_size(data: bytes | memoryview, size: int, datatype: str, shape: Sequence[int], field: str) -> None:
    if len(data) != size:
        raise _wrong_size(size, datatype, shape, field, len(data))


def _wrong_size(size: int, datatype: str, shape: Sequence[int], field: str, came: int) -> InvalidInput:
    return InvalidInput(field, f"expected {size} bytes for {datatype} {list(shape)}, got {came}")


def _split_bytes(data: bytes | memoryview, count: int, shape: Sequence[int], field: str) -> NDArray[np.object_]:
    if count * LENGTH.size > len(data):  # before anything is allocated for `count` elements
        raise InvalidInput(
            field, f"expected at least {count * LENGTH.size} bytes for {count} BYTES elements, got {len(data)}"
        )
    elements, at = [], 0
    for i in range(count):
        start = at + LENGTH.size
        if start > len(data):
            raise InvalidInput(field, f"expected {count} BYTES elements, got {i} and {len(data) - at} bytes more")
        at = start + LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise InvalidInput(field, f"element {i} should have {at - start} bytes, got {len(data) - start}")
        elements.append(bytes(data[start:at]))
    if at != len(data):
        raise InvalidInput(field, f"{len(data) - at} bytes are left over after {count} BYTES elements")
    return _objects(elements, shape)


def _objects(elements: Sequence[bytes], shape: Sequence[int]) -> NDArray[np.object_]:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(tuple(shape))


def _unknown(datatype: str, field: str) -> InvalidInput:
    return InvalidInput(
        f"{field}.datatype", f"expected one of {', '.join([*DTYPES, 'BF16', 'BYTES'])}, got {datatype!r}"
    )


# ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(array: Array, datatype: str) -> bytes:
    """Raw contents of an array. Raises TypeError if its elements are of another kind than `datatype`."""
    if datatype == "BYTES":
        elements: list[bytes] = array.ravel().tolist()
        return b"".join([part for element in elements for part in (LENGTH.pack(len(element)), element)])
    if datatype == "BF16":
        return _round_to_bf16(array.astype(np.float32, casting="same_kind", copy=False)).tobytes()
    dtype = DTYPES[datatype]
    if array.dtype != dtype:
        array = array.astype(dtype, casting="same_kind")
    return array.tobytes()  # row-major whatever the array's own order


def _round_to_bf16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest, ties to even; every NaN becomes a quiet one."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.dtype("<u2"))
    quiet = ((bits >> 16) | 0x40).astype(np.dtype("<u2"))
    return np.where(np.isnan(array), quiet, rounded)

"""NumPy arrays ↔ `zoo.v1.Tensor`: element types by their Open Inference names, bytes row-major and little-endian."""

from __future__ import annotations

import math

import numpy as np

from service.client.errors import BadInput, ZooClientError
from service.client.inputs.cells import number_of
from service.pb import prediction_pb2 as pb
from service.types import DTYPES, Array, Tensors

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def tensor_map(tensors: Tensors) -> pb.TensorMap:
    """Arrays by name as one message."""
    return pb.TensorMap(tensors={name: _tensor(name, array) for name, array in tensors.items()})


def arrays(message: pb.TensorMap) -> Tensors:
    """One message as arrays by name. BF16, which NumPy lacks, becomes float32."""
    return {name: _array(name, tensor) for name, tensor in message.tensors.items()}


def _tensor(name: str, array: Array) -> pb.Tensor:
    if array.dtype == object:
        array = _numbers(name, array)
    little = array.dtype.newbyteorder("<")
    datatype = _NAMES.get(little)
    if datatype is None:
        raise BadInput(f"tensor {name!r} has dtype {array.dtype}, which no model takes; known are {', '.join(DTYPES)}")
    return pb.Tensor(datatype=datatype, shape=array.shape, data=array.astype(little, copy=False).tobytes())


def _numbers(name: str, array: Array) -> Array:
    """An array of Python objects as numbers. Raises BadInput for the first object that is no number."""
    flat = [number_of(value) for value in array.ravel().tolist()]
    if None in flat:
        at = flat.index(None)
        where = [int(i) for i in np.unravel_index(at, array.shape)]
        kind = type(array.ravel()[at]).__name__
        hint = "; its rows may differ in length" if kind in ("list", "tuple", "ndarray") else ""
        raise BadInput(f"tensor {name!r} holds a {kind} at {where}; a number was expected{hint}")
    return np.array(flat, np.float64).reshape(array.shape)


def _array(name: str, tensor: pb.Tensor) -> Array:
    bf16 = tensor.datatype == "BF16"
    dtype = np.dtype("<u2") if bf16 else DTYPES.get(tensor.datatype)
    if dtype is None or math.prod(tensor.shape) * dtype.itemsize != len(tensor.data):
        raise ZooClientError(
            f"the server sent tensor {name!r} as {tensor.datatype} {list(tensor.shape)} in {len(tensor.data)} bytes, "
            "which do not fit together",
            code="INTERNAL",
        )
    flat: Array = np.frombuffer(tensor.data, dtype)
    if bf16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(tuple(tensor.shape))

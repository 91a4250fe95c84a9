"""Tensors of ones in the calls that Zoo prints: written out where they are short, else made by an expression of Python."""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model_zoo import strict_json
from service.types import DTYPES

if TYPE_CHECKING:
    from service.client import TensorSpec

_ONES = "::"
"""Around numbers of a tensor that are too many to be written out; no base64 has it."""
_MOST_NUMBERS = 24
"""Numbers that are written out."""
_FILE = "input.json"
"""Made by a printed line for a printed call."""


def document(value: Callable[[], Any], expression: str, numbers: int) -> tuple[str, str]:
    """A JSON document: written out where it is short, else in a file that a first line makes by an expression of Python."""
    if numbers <= _MOST_NUMBERS:
        return "", shlex.quote(strict_json.text(value()))
    program = f"import json; print(json.dumps({expression}))"
    return f"python3 -c {shlex.quote(program)} > {_FILE}\n", _FILE


def array(tensor: TensorSpec, rows: bool) -> str:
    """An array of ones of a tensor's shape; without the rows axis for `zoo.v1`. A mask of zeros would be refused."""
    kinds = {"FP32": "float32", "FP64": "float64", "FP16": "float16", "BOOL": "bool"}
    kind = kinds.get(tensor.datatype, tensor.datatype.lower())
    return f"np.ones({[*((1,) if rows else ()), *row_shape(tensor)]}, np.{kind})"


def row_shape(tensor: TensorSpec) -> list[int]:
    """Of one row; an axis whose size varies is 1 long."""
    return [max(size, 1) for size in tensor.shape[1:]]


def ones(shape: Sequence[int]) -> Any:
    """Ones in nested lists."""
    return [ones(shape[1:]) for _ in range(shape[0])] if shape else 1


def ones_of_python(tensor: TensorSpec) -> str:
    """As `ones`, as an expression."""
    text = "1"
    for size in reversed(row_shape(tensor)):
        text = f"[{text}] * {size}"
    return text


def tensor_message(tensor: TensorSpec) -> dict[str, Any]:
    """A row of ones as the message `Tensor`, whose data may stand for themselves in an expression of Python."""
    shape, one = row_shape(tensor), np.ones(1, DTYPES.get(tensor.datatype, DTYPES["FP32"])).tobytes()
    count = math.prod(shape)
    data = base64.b64encode(one * count).decode() if count <= _MOST_NUMBERS else f"{_ONES}{one.hex()}:{count}{_ONES}"
    return {"datatype": tensor.datatype, "shape": shape, "data": data}


def is_too_long(message: str) -> bool:
    """Whether data of a tensor in a message stand for themselves."""
    return _ONES in message


def made_by_python(text: str) -> str:
    """The command that writes a message whose data are too long to be written out."""
    expression = re.sub(f'"{_ONES}([0-9a-f]+):([0-9]+){_ONES}"', r'ones("\1", \2)', text)
    program = "import base64, json; ones = lambda one, n: base64.b64encode(bytes.fromhex(one) * n).decode(); "
    return f"python3 -c {shlex.quote(f'{program}print(json.dumps({expression}))')}"

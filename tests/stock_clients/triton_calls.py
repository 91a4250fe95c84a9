"""How these tests call Triton's client: inputs from arrays, refusals as code and text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support.end_to_end.server_process import EXAMPLES

CNN, RNN, TRANSFORMER = "efficientnet_lite0", "silero_vad", "all_minilm_l6_v2"
TOLERANCE = {CNN: 1e-3, RNN: 1e-5, TRANSFORMER: 1e-5}
"""Of the models' cards."""
CATS = {"tabby, tabby cat", "tiger cat", "Egyptian cat"}
CAT = (EXAMPLES / "cat.jpg").read_bytes()
SPEECH = (EXAMPLES / "speech.flac").read_bytes()

_LEAKS = re.compile(r"/|\\|Traceback|site-packages|\.py\b|0x[0-9a-f]{6}|Error\b|Exception|\bobject at\b|<class|None\b")


def inputs(**arrays: np.ndarray | Sequence[bytes]) -> list[triton.InferInput]:
    """Stock inputs; a list of bytes becomes BYTES `[n, 1]`."""
    made = []
    for name, value in arrays.items():
        array = value if isinstance(value, np.ndarray) else _objects(value)
        one = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        one.set_data_from_numpy(array)
        made.append(one)
    return made


def _objects(elements: Sequence[bytes]) -> np.ndarray:
    array = np.empty((len(elements), 1), np.object_)
    array[:, 0] = elements
    return array


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str


def refused(call: Callable[[], Any]) -> Refusal:
    """How a call failed, looked through for leaks."""
    try:
        answer = call()
    except InferenceServerException as error:
        return read(error)
    raise AssertionError(f"expected a refusal, got {answer}")


def read(error: InferenceServerException) -> Refusal:
    """The refusal in an exception of Triton's client, looked through for leaks."""
    text = error.message()
    found = _LEAKS.search(text)
    assert found is None, f"{text!r} leaks {found.group()!r}"
    return Refusal((error.status() or "").removeprefix("StatusCode."), text)

"""Files of a graph of TensorFlow.js."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo import strict_json

FILE = "numbers.bin"
"""Name of the file of numbers."""


def tfjs_graph(
    arrays: Mapping[str, NDArray[Any]], nodes: Sequence[Any], *, half: bool = False, file: str = FILE
) -> tuple[bytes, bytes]:
    """The JSON of a graph with these constants and nodes, and the file of its numbers; with `half`, floats in 16 bits."""
    weights, numbers = [], []
    for name, array in arrays.items():
        entry: dict[str, Any] = {"name": name, "shape": [*array.shape], "dtype": str(array.dtype)}
        if half and array.dtype == np.float32:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        weights.append(entry)
        numbers.append((array.astype(np.float16) if "quantization" in entry else array).tobytes())
    document = {
        "format": "graph-model",
        "modelTopology": {"node": [*nodes]},
        "weightsManifest": [{"paths": [file], "weights": weights}],
    }
    return strict_json.text(document).encode(), b"".join(numbers)

"""Triton's Python backend: becomes `1/model.py` of each model in its repository. Runs in Triton's stub process.

What a careful user writes: one batch of all requests that the dynamic batcher hands over, the tokeniser in front where a
request brings a text, tensors by view, eager torch.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy._core.multiarray
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

# Triton's stub does not hand PYTHONPATH on to the interpreter it embeds. It brings NumPy 1; libraries that read NumPy's version
# from the path that is added here take it for Zoo's NumPy 2, and want `numpy._core`, which is imported above.
sys.path[:0] = os.environ["ZOO_BENCH_PATH"].split(os.pathsep)

from benchmarks.peers.eager import EagerNetwork, Row  # noqa: E402


class TritonPythonModel:
    """The three calls that Triton makes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the network named by the model's parameters."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.text: bool = parameters["form"]["string_value"] == "raw"
        name, threads = parameters["network"]["string_value"], int(parameters["threads"]["string_value"])
        self.network = None if name == "null" else EagerNetwork(name, Path(os.environ["ZOO_HOME"]), threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One batch; a response a request."""
        if self.network is None:
            return [_response("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy()) for r in requests]
        rows: list[Row] = []
        counts: list[int] = []
        for request in requests:
            given = self._rows(request)
            rows += given
            counts.append(len(given))
        output = self.network.run(rows)
        starts = np.cumsum([0, *counts])
        return [_response(self.network.output, output[a:b]) for a, b in itertools.pairwise(starts)]

    def _rows(self, request: Any) -> list[Row]:
        assert self.network is not None
        if self.text:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
            return self.network.tokenise([text.decode() for text in texts])
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.network.inputs}
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(next(iter(arrays.values()))))]


def _response(name: str, array: Any) -> Any:
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(name, array)])

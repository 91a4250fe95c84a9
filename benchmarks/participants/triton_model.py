"""Triton's Python backend: becomes `1/model.py` of each model in its repository. Runs in Triton's stub process.

The code that a careful user writes: one batch of all requests of the dynamic batcher, the tokeniser in front for requests with a
text, tensors as views, and eager torch or OpenVINO.
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

# Triton's stub does not pass PYTHONPATH to the interpreter that it embeds. The stub has NumPy 1. Libraries that read NumPy's
# version from the path that is added here take it for Zoo's NumPy 2 and need `numpy._core`, which is imported above.
sys.path[:0] = os.environ["ZOO_BENCH_PATH"].split(os.pathsep)

from benchmarks.participants.eager import EagerNetwork, PeerNetwork, Row  # noqa: E402


class TritonPythonModel:
    """The interface that Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network that the model's parameters name."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.text: bool = parameters["form"]["string_value"] == "raw"
        name, threads = parameters["network"]["string_value"], int(parameters["threads"]["string_value"])
        home, description = Path(os.environ["ZOO_HOME"]), parameters["openvino"]["string_value"]
        self.network: PeerNetwork | None = None
        if description:
            from benchmarks.participants.openvino_peer import OpenVinoNetwork

            self.network = OpenVinoNetwork(name, home, threads, description)
        elif name != "null":
            self.network = EagerNetwork(name, home, threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One batch; a response a request."""
        if self.network is None:
            return [_response("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy()) for r in requests]
        rows: list[Row] = []
        counts: list[int] = []
        for request in requests:
            request_rows = self._rows(request)
            rows += request_rows
            counts.append(len(request_rows))
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

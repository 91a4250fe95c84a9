"""The LitServe application; runs in LitServe's own environment, with Zoo's packages behind its own.

python litserve_app.py MODEL PORT SETTINGS-AS-JSON
"""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
from fastapi import Request  # type: ignore[import-not-found]

sys.path += os.environ["ZOO_BENCH_PATH"].split(os.pathsep)

from benchmarks.participants.eager import EagerNetwork, Row


class Api(litserve.LitAPI):  # type: ignore[misc]
    """JSON in, JSON out; tensors in base64, as LitServe's users send them."""

    def __init__(self, model: str, threads: int, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._threads = model, threads

    def setup(self, device: str) -> None:
        """Once in every worker."""
        self.network = EagerNetwork(self._model, Path(os.environ["ZOO_HOME"]), self._threads)

    def decode_request(self, request: Request) -> Row | str:
        """`{"text": …}`, or `{"tensors": {name: base64}}` of one row."""
        if "text" in request:
            return str(request["text"])
        types = {"FP32": np.float32, "INT64": np.int64}
        row = {}
        for name, (datatype, shape) in self.network.inputs.items():
            row[name] = np.frombuffer(base64.b64decode(request["tensors"][name]), types[datatype]).reshape(shape)
        return row

    def batch(self, inputs: list[Row | str]) -> list[Row]:
        """Tokenise the texts of a batch together."""
        texts = [one for one in inputs if isinstance(one, str)]
        return self.network.tokenise(texts) if texts else [one for one in inputs if not isinstance(one, str)]

    def predict(self, x: list[Row]) -> Any:
        """One batch."""
        return self.network.run(x)

    def unbatch(self, output: Any) -> list[Any]:
        """Rows."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, str]:
        """FP32 in base64."""
        return {"output": base64.b64encode(output.tobytes()).decode()}


if __name__ == "__main__":
    settings = json.loads(sys.argv[3])
    api = Api(
        sys.argv[1],
        settings["threads"],
        max_batch_size=settings["max_batch"],
        batch_timeout=settings["batch_timeout_s"],
    )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=settings["workers"], timeout=False, fast_queue=settings["fast_queue"]
    )
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

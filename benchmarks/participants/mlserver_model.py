"""The MLServer runtime; loaded by MLServer in its own environment, with Zoo's packages behind its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]

sys.path += os.environ["ZOO_BENCH_PATH"].split(os.pathsep)

from benchmarks.participants.eager import EagerNetwork, Row


class ZooNetwork(MLModel):  # type: ignore[misc]
    """MLServer joins requests into one along the rows and splits the answer again (adaptive batching)."""

    async def load(self) -> bool:
        """The network named in the model's settings."""
        extra = self.settings.parameters.extra
        self.network = EagerNetwork(extra["network"], Path(os.environ["ZOO_HOME"]), extra["threads"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One batch, in a thread, so that the worker can take the next request meanwhile."""
        output = await asyncio.get_running_loop().run_in_executor(None, self._run, payload)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.network.output, output)])

    def _run(self, payload: InferenceRequest) -> object:
        if payload.inputs[0].datatype == "BYTES":
            rows = self.network.tokenise([str(text) for text in StringCodec.decode_input(payload.inputs[0])])
            return self.network.run(rows)
        arrays = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        tensor_rows: list[Row] = [
            {name: array[i] for name, array in arrays.items()} for i in range(len(next(iter(arrays.values()))))
        ]
        return self.network.run(tensor_rows)

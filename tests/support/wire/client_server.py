"""A server process for the SDK's streams that a test can kill and start again on the same port.

`python -m tests.support.wire.client_server PORT REPLIES` answers the first REPLIES requests of each stream and no further ones,
or all with REPLIES = -1. It prints its port, then a line for each request that it reads.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc

from service.pb import models_pb2, models_pb2_grpc, prediction_pb2, prediction_pb2_grpc
from tests.support.paths import REPOSITORY

MODEL = "echo"


class EchoServicer(prediction_pb2_grpc.PredictionServicer, models_pb2_grpc.ModelsServicer):
    """A model that takes texts and returns them."""

    def __init__(self, replies: int) -> None:
        self._replies = replies

    def GetModel(self, request: models_pb2.GetModelRequest, context: Any) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=models_pb2.Model(name=MODEL, raw_input="text"))

    def StreamPredict(self, requests: Any, context: Any) -> Iterator[prediction_pb2.StreamPredictResponse]:
        for count, message in enumerate(requests, 1):
            print("read", count, flush=True)
            if count <= self._replies or self._replies < 0:
                yield _reply(message.request)
        if self._replies >= 0:
            threading.Event().wait()  # until the process is killed


def _reply(request: prediction_pb2.PredictRequest) -> prediction_pb2.StreamPredictResponse:
    [instance] = request.instances
    result = prediction_pb2.PredictionResult(text=prediction_pb2.GeneratedText(text=instance.text))
    response = prediction_pb2.PredictResponse(model=request.model, version=1, predictions=[result])
    return prediction_pb2.StreamPredictResponse(request_id=request.request_id, response=response)


class EchoServer:
    """The process. Leaving the context kills it."""

    def __init__(self, replies: int, port: int = 0) -> None:
        command = [sys.executable, "-m", "tests.support.wire.client_server", str(port), str(replies)]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self.port = int(self._lines.readline())

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_for_requests(self, count: int) -> None:
        """Returns once the server has read that many requests of one stream."""
        for line in self._lines:
            if line == f"read {count}\n":
                return
        raise AssertionError("the server ended before")

    def kill(self) -> None:
        """SIGKILL: open streams break without a status."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._lines.close()


def main() -> None:
    port, replies = (int(argument) for argument in sys.argv[1:])
    server = grpc.server(ThreadPoolExecutor(8))
    servicer = EchoServicer(replies)
    prediction_pb2_grpc.add_PredictionServicer_to_server(servicer, server)
    models_pb2_grpc.add_ModelsServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

"""What the harness knows of any server that takes part."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence
from typing import Any, ClassVar

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import ROOT, PeerFailed, Process
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc

OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


class Server(Process):
    """A server under measurement. A subclass starts it and returns when it answers."""

    name: str
    protocol: ClassVar[str] = "grpc"
    """`grpc`: Open Inference over gRPC. `http`: POST /predict with JSON."""
    keeps_deadlines: ClassVar[bool] = True
    """Whether a call can tell it by when it wants its answer."""
    target: str = ""
    """host:port."""
    settings: dict[str, Any]
    """How it was set, for the record."""

    def message(self, request: bytes) -> bytes:
        """A serialised ModelInferRequest as this server takes it."""
        return request

    def answer(self, message: bytes) -> NDArray[np.float32]:
        """One call, outside any measurement: the values of its first output."""
        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                reply = stub.ModelInfer(pb.ModelInferRequest.FromString(message), timeout=60)
            except grpc.RpcError as error:
                raise PeerFailed(f"{self.name} answers {error.code().name}: {error.details()}") from None
        if reply.raw_output_contents:
            return np.frombuffer(reply.raw_output_contents[0], np.float32)
        return np.array(reply.outputs[0].contents.fp32_contents, np.float32)

    def counters(self) -> dict[str, float]:
        """Running totals of its own (batches, rows, padding), where it tells any; a measurement takes the differences."""
        return {}


def packages_path() -> str:
    """Where a peer's process finds this repository and torch, which its own environment has not."""
    return os.pathsep.join([str(ROOT), sysconfig.get_paths()["purelib"]])


def models_ready(target: str, models: Sequence[str]) -> bool:
    """Whether a server of the Open Inference protocol is there and has its models."""
    with grpc.insecure_channel(target, OPTIONS) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            return all(stub.ModelReady(pb.ModelReadyRequest(name=model), timeout=2).ready for model in models)
        except grpc.RpcError:
            return False

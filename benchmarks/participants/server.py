"""The base class of all servers that take part."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from typing import Any, ClassVar

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.participants.process import ParticipantFailed, Process
from benchmarks.paths import ROOT
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc

OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


class Server(Process):
    """A server under measurement. A subclass starts it and returns when it answers."""

    name: str
    protocol: ClassVar[str] = "grpc"
    """`grpc`: Open Inference over gRPC. `http`: POST /predict with JSON."""
    keeps_deadlines: ClassVar[bool] = True
    """Whether a call can state its deadline."""
    target: str = ""
    """host:port."""
    settings: dict[str, Any]
    """Its settings, for the record."""

    def message(self, request: bytes) -> bytes:
        """A serialised ModelInferRequest in the form that this server takes."""
        return request

    def answer(self, message: bytes) -> NDArray[np.float32]:
        """One call, outside any measurement: the values of its first output."""
        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                reply = stub.ModelInfer(pb.ModelInferRequest.FromString(message), timeout=60)
            except grpc.RpcError as error:
                raise ParticipantFailed(f"{self.name} answered {error.code().name}: {error.details()}") from None
        if reply.raw_output_contents:
            return np.frombuffer(reply.raw_output_contents[0], np.float32)
        return np.array(reply.outputs[0].contents.fp32_contents, np.float32)

    def counters(self) -> dict[str, float]:
        """Running totals of batches, rows and padding, if the server reports them; a measurement takes the differences."""
        return {}


def packages_path() -> str:
    """The path on which a peer's process finds this repository and torch; its own environment has neither."""
    folders = [sysconfig.get_paths()["purelib"], *(path for path in sys.path if path.endswith("site-packages"))]
    return os.pathsep.join([str(ROOT), *dict.fromkeys(folders)])


def models_ready(target: str, models: Sequence[str]) -> bool:
    """Whether a server of the Open Inference protocol answers and has its models."""
    with grpc.insecure_channel(target, OPTIONS) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            return all(stub.ModelReady(pb.ModelReadyRequest(name=model), timeout=2).ready for model in models)
        except grpc.RpcError:
            return False

"""A fake pipeline behind the real zoo.v1 servicers, call wrapper and port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc import aio
from prometheus_client import CollectorRegistry

from service.inference import current_call
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.pb import models_pb2_grpc, prediction_pb2, prediction_pb2_grpc
from service.types import InferReply, InferRequest, Prediction, Timing
from service.wire.calls import CountedServer
from service.wire.zoo_v1.models import ModelsServicer
from service.wire.zoo_v1.prediction import PredictionServicer
from tests.support.wire.frontends import served_port

PATIENCE_S = 20.0


def echo(request: InferRequest) -> InferReply:
    """As many tensors as instances, each with its own number."""
    tensors = [Prediction({"y": np.array([i], np.float32)}) for i in range(len(request.instances))]
    return InferReply(
        request.model, 1, request.request_id, tensors, Timing(0.001, 0.002, 0.003, 0.004, 5, 0.25, "cpu", "fp32")
    )


@dataclass
class FakePipeline:
    """Answers by `answer`, which may raise. A request whose id is in `gates` waits for its gate first."""

    answer: Callable[[InferRequest], InferReply] = echo
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    requests: list[InferRequest] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)
    cancelled: list[str] = field(default_factory=list)

    async def infer(self, request: InferRequest, *, answers: bool = True) -> InferReply:
        self.requests.append(request)
        self.inside.add(request.request_id)
        try:
            if request.model.startswith("known"):
                call = current_call.get()
                call.model, call.version = request.model, "1"
            if gate := self.gates.get(request.request_id):
                await gate.wait()
            return self.answer(request)
        except asyncio.CancelledError:
            self.cancelled.append(request.request_id)
            raise
        finally:
            self.inside.discard(request.request_id)


@dataclass
class Wired:
    """A server with fakes behind it, and a channel to it."""

    pipeline: FakePipeline
    metrics: CollectorRegistry
    recorder: Recorder
    channel: aio.Channel

    @property
    def prediction(self) -> Any:
        return prediction_pb2_grpc.PredictionStub(self.channel)

    @property
    def models(self) -> Any:
        return models_pb2_grpc.ModelsStub(self.channel)

    def calls(self, method: str, code: str, model: str = "", version: str = "") -> float:
        """How many calls are counted."""
        labels = {"model": model, "version": version, "method": method, "code": code}
        return self.metrics.get_sample_value("zoo_requests_total", labels) or 0.0

    def label_values(self) -> set[str]:
        return {v for family in self.metrics.collect() for s in family.samples for v in s.labels.values()}


@asynccontextmanager
async def wired(
    answer: Callable[[InferRequest], InferReply] = echo,
    registry: object = None,
    more: Mapping[str, Any] | None = None,
) -> AsyncIterator[Wired]:
    metrics = CollectorRegistry()
    recorder = Recorder(Metrics(metrics), Statistics(lambda: 1234))
    pipeline = FakePipeline(answer)
    server = aio.server()
    counted: Any = CountedServer(server, recorder)
    servicer = PredictionServicer(cast(Any, pipeline), recorder)
    prediction_pb2_grpc.add_PredictionServicer_to_server(servicer, counted)
    if registry is not None:
        models_pb2_grpc.add_ModelsServicer_to_server(ModelsServicer(cast(Any, registry)), counted)
    counted.add_registered_method_handlers("s", more or {})
    async with served_port(server, servicer) as port, port.channel() as channel:
        yield Wired(pipeline, metrics, recorder, channel)


def request(model: str = "m", *texts: str, **fields: Any) -> prediction_pb2.PredictRequest:
    instances = [prediction_pb2.Instance(text=text) for text in texts or ("a",)]
    return prediction_pb2.PredictRequest(model=model, **{"instances": instances, **fields})


def status_in(error: aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status in the trailers."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status()
    status.ParseFromString(cast(bytes, trailers["grpc-status-details-bin"]))
    return status


M = TypeVar("M", bound=Message)


def detail(status: status_pb2.Status, kind: type[M]) -> M | None:
    """The detail of that kind, if there is one."""
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(0.001)

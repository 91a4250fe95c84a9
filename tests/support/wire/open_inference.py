"""The real servicer of the Open Inference Protocol on the real pipeline, registry and scheduler; only the network is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest
from grpc import aio

from service.observability.request_log import RequestLog
from service.observability.tracing.request_tracing import Tracing
from service.observability.tracing.trace_settings import TraceSettings
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc as pb_grpc
from service.wire.access.guard import Guard
from service.wire.calls import CountedServer
from service.wire.open_inference.model_codec import ModelCodec
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.servicer import OpenInferenceServicer, add_to_server
from tests.support.registry.fakes import World, world
from tests.support.wire.frontends import served_port


def asks(*values: float, model: str = "adder", request_id: str = "r", **fields: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id=request_id, **fields)
    request.inputs.add(name="x", datatype="FP32", shape=[len(values), 1])
    request.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return request


def servicer(
    w: World, regions: Regions | None = None, guard: Guard | None = None, traces: TraceSettings | None = None
) -> OpenInferenceServicer:
    return OpenInferenceServicer(w.inference, w.registry, w.recorder, cast(Any, None), "1", regions, guard, traces)


@asynccontextmanager
async def served_on_port(
    regions: Regions | None = None,
    guard: Guard | None = None,
    tracing: Tracing | None = None,
    calls: RequestLog | None = None,
    **options: Any,
) -> AsyncIterator[tuple[World, Any, int]]:
    """A world behind a port, a stub that calls it, and the port. `regions`: turns shared memory on. `guard`: asks for tokens."""
    async with world(**options) as w:
        w.recorder.tracing, w.recorder.call_log = tracing, calls
        server = aio.server()
        counted: Any = CountedServer(server, w.recorder, guard)
        behind = servicer(w, regions, guard, None if tracing is None else tracing.settings)
        add_to_server(behind, counted)
        hooks = {"gate": w.inference.refuse_unread, "guard": guard}
        async with served_port(server, behind.calls, **hooks) as port, port.channel() as channel:
            yield w, pb_grpc.GRPCInferenceServiceStub(channel), port.number


@asynccontextmanager
async def served(regions: Regions | None = None, **options: Any) -> AsyncIterator[tuple[World, Any]]:
    """As `served_on_port`, without the port."""
    async with served_on_port(regions, **options) as (w, stub, _):
        yield w, stub


def without_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is read by `ModelCodec`; well-formed tensors still take the tensor path once `requests.py` has read them."""
    monkeypatch.setattr(ModelCodec, "read", lambda *_: None)


def without_tensor_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request runs through `Inference.infer`."""
    without_codec(monkeypatch)
    monkeypatch.setattr("service.wire.open_inference.infer_calls.tensor_call", lambda *_: None)


PATHS = {"without codec": without_codec, "without tensor path": without_tensor_path}
"""Other paths, which must answer as the codec's does."""


def counts(w: World) -> dict[tuple[str, ...], float]:
    """All metrics that count something, and gauges; no seconds."""
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in w.metrics.collect()
        for sample in family.samples
        if not sample.name.endswith(("_sum", "_bucket", "_created", "_seconds_total"))
        and "predicted" not in sample.name  # needs a few batches first
        and sample.name != "zoo_batch_execute_seconds_count"
    }


async def all_replies(stub: Any, requests: list[pb.ModelInferRequest]) -> list[pb.ModelStreamInferResponse]:
    stream = stub.ModelStreamInfer(iter(requests))
    return sorted([reply async for reply in stream], key=lambda reply: reply.infer_response.id)


class Caller:
    """A stream's context without a port: sends its requests and then waits. `remaining`: seconds until its deadline."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self.requests = iter(requests)
        self.remaining: float | None = None

    def time_remaining(self) -> float | None:
        return self.remaining

    async def read(self) -> Any:
        request = next(self.requests, None)
        return await asyncio.Event().wait() if request is None else request

    async def write(self, reply: object) -> None:
        """Drops the reply."""

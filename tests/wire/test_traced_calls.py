"""Calls that are traced, over both frontends: which ones, and with what the pipeline measured."""

from itertools import pairwise
from typing import Any

import pytest
from grpc import aio
from structlog.testing import capture_logs

from service.access.scopes import Scope
from service.observability.recorder import Call
from service.observability.request_log import RequestLog
from service.observability.tracing.request_spans import FinishedRequest, spans_of
from service.observability.tracing.request_tracing import Tracing
from service.observability.tracing.span import Span
from service.observability.tracing.trace_settings import TraceSettings
from service.pb import open_inference_pb2 as pb
from service.wire.access.guard import Guard
from tests.support.wire.access import Access
from tests.support.wire.open_inference import PATHS, asks, served

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1"))
OPEN = frozenset({"/inference.GRPCInferenceService/ServerMetadata"})
"""Methods that need no token."""
UNSAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-00"),)


class Sink:
    def __init__(self) -> None:
        self.requests: list[FinishedRequest] = []

    def offer(self, finished: FinishedRequest | Span) -> None:
        assert isinstance(finished, FinishedRequest)
        self.requests.append(finished)

    @property
    def spans(self) -> list[Span]:
        return spans_of(self.requests)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture(params=["codec", *PATHS])
def each_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test over every way that a request of tensors may take."""
    if request.param in PATHS:
        PATHS[request.param](monkeypatch)
    return request.param


def traces(sink: Sink, ratio: float = 0.0, *, asks_for_tokens: bool = False) -> Tracing:
    settings = TraceSettings(on=True, ratio=ratio)
    return Tracing(settings, sink, lambda _model: "image-classification", asks_for_tokens=asks_for_tokens)


async def test_sampled_request_becomes_a_child_of_its_callers_span(sink: Sink, each_path: str) -> None:
    async with served(tracing=traces(sink)) as (_, stub):
        await stub.ModelInfer(asks(1.0, 2.0, request_id="r-7"), metadata=SAMPLED)
    server, *stages = sink.spans
    assert (server.name, server.trace_id, server.parent_id) == (
        "inference.GRPCInferenceService/ModelInfer",
        TRACE,
        PARENT,
    )
    assert server.state == "vendor=1"
    shown = {
        name: server.attributes[f"zoo.{name}"] for name in ("request.id", "model.name", "model.version", "request.rows")
    }
    assert shown == {"request.id": "r-7", "model.name": "adder", "model.version": "1", "request.rows": 2}
    names = [span.name for span in stages]
    assert names[0] == "receive"
    assert names[-1] == "reply"
    assert names.index("queue") < names.index("execute")
    assert stages[0].start_ns == server.start_ns
    assert stages[-1].end_ns == server.end_ns
    for before, after in pairwise(stages):
        assert before.start_ns <= before.end_ns <= after.start_ns
    (execute,) = [span for span in stages if span.name == "execute"]
    assert execute.attributes["zoo.batch.rows"] == 2
    assert execute.attributes["zoo.device"]
    assert execute.attributes["zoo.tier"]


async def test_request_that_its_caller_does_not_sample_is_not_traced(sink: Sink) -> None:
    async with served(tracing=traces(sink, ratio=1.0)) as (_, stub):
        await stub.ModelInfer(asks(1.0), metadata=UNSAMPLED)
        await stub.ModelInfer(asks(1.0))
    (only,) = sink.requests
    assert only.context.span_id == ""


async def test_each_request_of_a_stream_is_traced_and_the_stream_is_not(sink: Sink) -> None:
    async with served(tracing=traces(sink)) as (_, stub):
        requests = [asks(float(i), request_id=f"{i}") for i in range(3)]
        async for _reply in stub.ModelStreamInfer(iter(requests), metadata=SAMPLED):
            pass
    assert [request.method for request in sink.requests] == ["inference.GRPCInferenceService/ModelStreamInfer"] * 3
    assert {request.call.request_id for request in sink.requests} == {"0", "1", "2"}
    assert {request.context.span_id for request in sink.requests} == {PARENT}


async def test_failed_request_is_traced_with_its_code(sink: Sink) -> None:
    async with served(tracing=traces(sink)) as (_, stub):
        with pytest.raises(aio.AioRpcError):
            await stub.ModelInfer(asks(1.0, model="nobody"), metadata=SAMPLED)
    (server,) = sink.spans
    assert server.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert server.error is None, "the caller's fault"


async def test_other_methods_are_traced_by_their_server_span(sink: Sink) -> None:
    async with served(tracing=traces(sink)) as (_, stub):
        await stub.ModelMetadata(pb.ModelMetadataRequest(name="adder"), metadata=SAMPLED)
    (server,) = sink.spans
    assert server.name == "inference.GRPCInferenceService/ModelMetadata"


async def test_sampled_call_notes_its_trace_for_the_metrics(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tracing=traces(sink)) as (world, stub):
        seen: list[str] = []
        count = world.recorder.call_finished
        monkeypatch.setattr(
            world.recorder, "call_finished", lambda call, *rest: (seen.append(call.trace_id), count(call, *rest))
        )
        await stub.ModelInfer(asks(1.0), metadata=SAMPLED)
        await stub.ModelInfer(asks(1.0), metadata=UNSAMPLED)
    assert seen == [TRACE, ""]


async def test_flag_is_followed_only_for_callers_with_a_token_where_tokens_are_asked_for(sink: Sink) -> None:
    access = Access()
    bearer, other = await access.token(), await access.token("bob", Scope.FINETUNE)
    async with served(guard=Guard(access.authenticator, OPEN), tracing=traces(sink, asks_for_tokens=True)) as (_, stub):
        for metadata in ((), (("authorization", "Bearer nobody"),), other):
            with pytest.raises(aio.AioRpcError):
                await stub.ModelInfer(asks(1.0), metadata=(*metadata, *SAMPLED))
        for refused in (
            stub.ModelMetadata(pb.ModelMetadataRequest(name="adder"), metadata=SAMPLED),
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="adder"), metadata=(*bearer, *SAMPLED)),
        ):
            with pytest.raises(aio.AioRpcError):
                await refused
        await stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=SAMPLED)  # needs no token
        assert not sink.requests
        mine = (*bearer, *SAMPLED)
        await stub.ModelMetadata(pb.ModelMetadataRequest(name="adder"), metadata=mine)
        await stub.ModelInfer(asks(1.0), metadata=mine)
        requests = [asks(1.0), asks(1.0, model="nobody")]
        async for _reply in stub.ModelStreamInfer(iter(requests), metadata=mine):
            pass
    assert {request.context.trace_id for request in sink.requests} == {TRACE}
    assert len(sink.requests) == 4


async def test_call_of_a_stranger_has_a_part_in_the_ratio_and_a_trace_of_its_own(sink: Sink) -> None:
    guard = Guard(Access().authenticator, OPEN)
    async with served(guard=guard, tracing=traces(sink, 1.0, asks_for_tokens=True)) as (_, stub):
        await stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=SAMPLED)
    (only,) = sink.requests
    assert only.context.trace_id != TRACE
    assert (only.context.span_id, only.context.state) == ("", "")


async def test_slow_request_is_logged_with_its_stages(sink: Sink, each_path: str) -> None:
    async with served(calls=RequestLog(slow_s=0.0)) as (_, stub):
        with capture_logs() as logs:
            await stub.ModelInfer(asks(1.0, 2.0, request_id="r-7"), metadata=UNSAMPLED)
    (line,) = [each for each in logs if each["event"] == "a request was slow"]
    assert {name: line[name] for name in ("model", "request_id", "trace_id", "rows", "batch_rows")} == {
        "model": "adder",
        "request_id": "r-7",
        "trace_id": TRACE,
        "rows": 2,
        "batch_rows": 2,
    }
    stages = line["preprocess_s"] + line["queue_s"] + line["execute_s"] + line["postprocess_s"]
    assert 0 < stages <= line["seconds"] + 1e-5


async def test_request_whose_deadline_passes_is_logged_with_the_time_that_it_waited(each_path: str) -> None:
    async with served(calls=RequestLog()) as (world, stub):
        world.runtime().gate.clear()
        message = asks(1.0, request_id="late")
        message.parameters["timeout"].int64_param = 20_000  # microseconds
        with capture_logs() as logs, pytest.raises(aio.AioRpcError):
            await stub.ModelInfer(message)
        world.runtime().gate.set()
    (line,) = [each for each in logs if each["event"] == "a request failed"]
    assert (line["code"], line["request_id"], line["model"], line["rows"]) == ("DEADLINE_EXCEEDED", "late", "adder", 1)
    assert line["queue_s"] > 0.0
    assert line["execute_s"] == 0.0


async def test_call_is_answered_even_if_it_cannot_be_traced(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(sink, "offer", broken)
    async with served(tracing=traces(sink)) as (_, stub):
        with capture_logs() as logs:
            reply = await stub.ModelInfer(asks(1.0, request_id="r"), metadata=SAMPLED)
    assert reply.id == "r"
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["a call could not be traced"]


@pytest.mark.parametrize(("service", "traced"), [("grpc.health.v1.Health", False), ("zoo.v1.Models", True)])
async def test_health_checks_are_not_traced(sink: Sink, service: str, traced: bool) -> None:
    class Context:
        def time_remaining(self) -> float | None:
            return None

        def code(self) -> int:
            return 0

        def invocation_metadata(self) -> Any:
            return SAMPLED

    tracing = traces(sink)
    tracing.add_methods(service, ["Check"])
    tracing.call_finished(Context(), Call(), "Check", "OK", 1.0, 2.0)
    assert bool(sink.requests) is traced

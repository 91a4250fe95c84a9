"""The spans of a request, from the times that the pipeline took."""

from typing import Any

import pytest

from service.observability.recorder import Call
from service.observability.tracing.job_spans import job_context
from service.observability.tracing.request_spans import SERVER_FAULTS, FinishedRequest, spans_of
from service.observability.tracing.span import Link, Span
from service.observability.tracing.trace_context import TraceContext
from service.types import BatchReport, Timing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EPOCH_NS = 1_700_000_000_000_000_000
METHOD = "inference.GRPCInferenceService/ModelInfer"
BATCH = BatchReport(10.25, 10.5, 8, 0.125, "cpu", "bf16", "lane-cpu-0", "compiled")
RAW = Timing(0.125, 0.0625, 0.25, 0.03125, 8, 0.125, "cpu", "bf16", 10.0625, 10.625, BATCH)
TENSORS = Timing(queue_s=0.125, execute_s=0.25, batch_rows=8, began=10.125, batch=BATCH)


def request(
    timing: Timing | None, code: str = "OK", task: str = "", trace: str = TRACE, **call: Any
) -> FinishedRequest:
    about = {"model": "m", "version": "3", "request_id": "r-1", "rows": 2, **call}
    context = TraceContext(trace, PARENT, True, "a=1")
    return FinishedRequest(context, METHOD, code, Call(**about, timing=timing), task, 10.0, 11.0, EPOCH_NS)


def seconds(span: Span) -> tuple[float, float]:
    return (span.start_ns - EPOCH_NS) / 1e9, (span.end_ns - EPOCH_NS) / 1e9


def test_stages_of_raw_input_follow_each_other_under_the_server_span() -> None:
    server, *stages = spans_of([request(RAW)])
    assert (server.name, server.server, server.parent_id, server.parent_is_remote) == (METHOD, True, PARENT, True)
    assert seconds(server) == (10.0, 11.0)
    assert {span.trace_id for span in (server, *stages)} == {TRACE}
    assert {span.parent_id for span in stages} == {server.span_id}
    assert {span.state for span in (server, *stages)} == {"a=1"}
    assert len({span.span_id for span in (server, *stages)}) == 7
    assert [(span.name, *seconds(span)) for span in stages] == [
        ("receive", 10.0, 10.0625),
        ("preprocess", 10.0625, 10.1875),
        ("queue", 10.1875, 10.25),
        ("execute", 10.25, 10.5),
        ("postprocess", 10.625, 10.65625),
        ("reply", 10.65625, 11.0),
    ]


def test_request_of_tensors_has_no_stages_that_it_did_not_pass() -> None:
    _, *stages = spans_of([request(TENSORS)])
    assert [(span.name, *seconds(span)) for span in stages] == [
        ("receive", 10.0, 10.125),
        ("queue", 10.125, 10.25),
        ("execute", 10.25, 10.5),
        ("reply", 10.5, 11.0),
    ]


def test_attributes_follow_the_conventions() -> None:
    server, *stages = spans_of([request(RAW)])
    assert server.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "zoo.request.id": "r-1",
        "zoo.model.name": "m",
        "zoo.model.version": "3",
        "zoo.request.rows": 2,
    }
    assert server.error is None
    (execute,) = [span for span in stages if span.name == "execute"]
    assert execute.attributes == {
        "zoo.batch.rows": 8,
        "zoo.batch.padding_ratio": 0.125,
        "zoo.device": "cpu",
        "zoo.lane": "lane-cpu-0",
        "zoo.tier": "compiled",
        "zoo.precision": "bf16",
    }


@pytest.mark.parametrize(
    ("task", "operation"), [("text-generation", "text_completion"), ("feature-extraction", "embeddings")]
)
def test_generative_tasks_have_the_attributes_of_generative_ai(task: str, operation: str) -> None:
    server, *_ = spans_of([request(RAW, task=task)])
    shown = {name: value for name, value in server.attributes.items() if name.startswith("gen_ai.")}
    assert shown == {"gen_ai.operation.name": operation, "gen_ai.provider.name": "zoo", "gen_ai.request.model": "m"}


def test_request_that_failed_before_a_model_was_known_has_the_server_span_alone() -> None:
    failed = request(None, "NOT_FOUND", model="", version="", request_id="", rows=0)
    (server,) = spans_of([failed])
    assert server.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "NOT_FOUND",
    }


@pytest.mark.parametrize(
    ("code", "error"),
    [("INTERNAL", "INTERNAL"), ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"), ("INVALID_ARGUMENT", None), ("OK", None)],
)
def test_span_is_an_error_for_faults_of_the_server_only(code: str, error: str | None) -> None:
    server, *_ = spans_of([request(RAW, code)])
    assert server.error == error
    assert server.attributes.get("error.type") == error
    assert (code in SERVER_FAULTS) == (error is not None)


def test_request_that_failed_in_the_queue_shows_its_wait_and_no_reply() -> None:
    timing = Timing(preprocess_s=0.125, queue_s=0.5, began=10.125)
    _, *stages = spans_of([request(timing, "DEADLINE_EXCEEDED")])
    assert [span.name for span in stages] == ["receive", "preprocess", "queue"]
    assert seconds(stages[-1]) == (10.25, 10.75)


def test_requests_that_shared_a_batch_are_linked_to_it_and_it_to_them() -> None:
    other = "0af7651916cd43dd8448eb211c80319c"
    spans = spans_of([request(TENSORS), request(TENSORS, trace=other)])
    (batch,) = [span for span in spans if span.name == "batch"]
    executions = [span for span in spans if span.name == "execute"]
    assert batch.links == tuple(Link(span.trace_id, span.span_id) for span in executions)
    assert {link.trace_id for link in batch.links} == {TRACE, other}
    assert [list(span.links) for span in executions] == [[Link(batch.trace_id, batch.span_id)]] * 2
    assert batch.trace_id not in (TRACE, other)
    assert seconds(batch) == (10.25, 10.5)
    assert batch.attributes["zoo.batch.rows"] == 8


def test_request_alone_in_its_batch_has_no_span_of_the_batch() -> None:
    spans = spans_of([request(TENSORS)])
    assert "batch" not in [span.name for span in spans]
    assert not any(span.links for span in spans)


def test_request_that_created_a_job_is_linked_to_the_trace_of_the_job() -> None:
    (server,) = spans_of([request(None, job_id="0123456789abcdef")])
    job = job_context("0123456789abcdef")
    assert server.links == (Link(job.trace_id, job.span_id),)
    assert server.attributes["zoo.job.id"] == "0123456789abcdef"


def test_request_id_of_any_length_and_content_is_bounded() -> None:
    server, *_ = spans_of([request(RAW, request_id="x\n" + "y" * 1_000_000)])
    assert len(str(server.attributes["zoo.request.id"])) == 128
    assert str(server.attributes["zoo.request.id"]).isprintable()

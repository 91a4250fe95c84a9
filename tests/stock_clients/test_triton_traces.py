"""Traces and logs through Triton's stock client: a real collector takes the spans, and the settings change at run time."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterator
from typing import Any

import pytest
import tritonclient.grpc as triton

from tests.stock_clients.triton_calls import RNN, SPEECH, inputs, refused
from tests.support.end_to_end.rotel import PrintedSpan, Rotel, rotel
from tests.support.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.component

PARENT = "00f067aa0ba902b7"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotel]:
    with rotel(tmp_path_factory.mktemp("rotel")) as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Rotel) -> Iterator[ServerProcess]:
    settings = {"ZOO_OTLP_ENDPOINT": collector.endpoint, "ZOO_TRACE_SAMPLE_RATIO": "0", "ZOO_LOG_LEVEL": "info"}
    with ServerProcess("--model", RNN, **settings) as process:
        yield process.ready()
    process.assert_log_is_clean()


@pytest.fixture(scope="module")
def own(traced: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(traced.target) as made:
        yield made


@pytest.fixture
def trace() -> str:
    """The id of a trace that no other test uses."""
    return f"{next(NUMBERS):032x}"


def headers(trace: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{flags}", "tracestate": "stock=1"}


def check_order(spans: list[PrintedSpan], server: PrintedSpan) -> None:
    """The stages follow each other inside the server span."""
    stages = [span for span in spans if span is not server]
    assert {span.parent for span in stages} == {server.id}
    assert stages[0].start_ns == server.start_ns
    assert stages[-1].end_ns == server.end_ns
    for before, after in itertools.pairwise(stages):
        assert before.start_ns <= before.end_ns <= after.start_ns


def test_request_of_a_stock_client_is_a_child_of_its_span(
    own: triton.InferenceServerClient, collector: Rotel, trace: str
) -> None:
    own.infer(RNN, inputs(audio=[SPEECH]), request_id="r-1", headers=headers(trace))
    spans = collector.wait_for(trace, 7)
    server, *stages = spans
    assert (server.name, server.parent) == ("inference.GRPCInferenceService/ModelInfer", PARENT)
    assert server.fields["Kind"] == "SPAN_KIND_SERVER"
    assert server.fields["TraceState"] == "stock=1"
    assert server.attributes["zoo.request.id"] == "r-1"
    assert server.attributes["zoo.model.name"] == RNN
    assert server.attributes["rpc.response.status_code"] == "OK"
    assert [span.name for span in stages] == ["receive", "preprocess", "queue", "execute", "postprocess", "reply"]
    check_order(spans, server)
    assert stages[3].attributes["zoo.batch.rows"] == "1"


def test_requests_of_a_stream_are_children_of_the_streams_caller(
    own: triton.InferenceServerClient, collector: Rotel, trace: str
) -> None:
    replies: queue.Queue[Any] = queue.Queue()
    own.start_stream(lambda result, error: replies.put(error or result), headers=headers(trace))
    for number in range(2):
        own.async_stream_infer(RNN, inputs(audio=[SPEECH]), request_id=f"{number}")
    for _ in range(2):
        assert isinstance(replies.get(timeout=60), triton.InferResult)
    own.stop_stream()
    spans = collector.wait_for(trace, 14)
    servers = [span for span in spans if span.name == "inference.GRPCInferenceService/ModelStreamInfer"]
    assert sorted(span.attributes["zoo.request.id"] for span in servers) == ["0", "1"]
    assert {span.parent for span in servers} == {PARENT}


def test_failed_request_is_traced_and_logged_with_its_ids(
    own: triton.InferenceServerClient, traced: ServerProcess, collector: Rotel, trace: str
) -> None:
    given = inputs(audio=[SPEECH])
    refusal = refused(lambda: own.infer("nobody", given, request_id="wrong\nforged", headers=headers(trace)))
    assert refusal.code == "NOT_FOUND"
    (server,) = collector.wait_for(trace, 1)
    assert server.attributes["rpc.response.status_code"] == "NOT_FOUND"
    line = traced.wait_for("a request failed", trace_id=trace)
    assert (line["code"], line["method"], line["request_id"]) == ("NOT_FOUND", "ModelInfer", r"wrong\nforged")


def test_request_that_its_caller_does_not_sample_reaches_no_collector(
    own: triton.InferenceServerClient, collector: Rotel, trace: str
) -> None:
    own.infer(RNN, inputs(audio=[SPEECH]), headers=headers(trace, "00"))
    later = f"{next(NUMBERS):032x}"
    own.infer(RNN, inputs(audio=[SPEECH]), headers=headers(later))
    collector.wait_for(later, 7)
    assert not [span for span in collector.spans() if span.trace == trace]


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trace_settings_are_read_changed_and_restored(own: triton.InferenceServerClient, collector: Rotel) -> None:
    before = own.get_trace_settings(as_json=True)["settings"]
    assert before["trace_level"]["value"] == ["TIMESTAMPS"]
    assert (before["trace_rate"]["value"], before["trace_count"]["value"]) == (["0"], ["-1"])
    changed = own.update_trace_settings(model_name=RNN, settings={"trace_rate": "1", "trace_count": "2"}, as_json=True)
    assert changed["settings"]["trace_rate"]["value"] == ["1"]
    assert own.get_trace_settings(as_json=True)["settings"] == before, "of this model alone"
    for number in range(4):
        own.infer(RNN, inputs(audio=[SPEECH]), request_id=f"counted-{number}")
    left = own.get_trace_settings(RNN, as_json=True)["settings"]
    assert left["trace_count"]["value"] == ["0"]
    own.update_trace_settings(model_name=RNN, settings={"trace_rate": None, "trace_count": None})
    assert own.get_trace_settings(RNN, as_json=True)["settings"] == before


@pytest.mark.parametrize(
    "settings", [{"trace_file": "/tmp/trace.json"}, {"trace_level": "TENSORS"}, {"trace_rate": "-1"}, {"colour": "red"}]
)
def test_trace_setting_that_makes_no_sense_is_refused(
    own: triton.InferenceServerClient, settings: dict[str, Any]
) -> None:
    assert refused(lambda: own.update_trace_settings(settings=settings)).code == "INVALID_ARGUMENT"


def test_log_settings_change_what_the_server_logs(own: triton.InferenceServerClient, traced: ServerProcess) -> None:
    before = own.get_log_settings(as_json=True)["settings"]
    assert before["log_info"]["bool_param"] is True
    own.update_log_settings({"log_verbose_level": 1})
    own.infer(RNN, inputs(audio=[SPEECH]), request_id="while-verbose")
    traced.wait_for("call", request_id="while-verbose")
    changed = own.update_log_settings({"log_verbose_level": 0}, as_json=True)
    assert changed["settings"] == before
    own.infer(RNN, inputs(audio=[SPEECH]), request_id="while-silent")
    assert not [event for event in traced.events if event.get("request_id") == "while-silent"]


@pytest.mark.parametrize(
    "settings",
    [{"log_file": "/tmp/zoo.log"}, {"log_error": False}, {"log_verbose_level": 9}, {"log_format": "ISO8601"}],
)
def test_log_setting_that_makes_no_sense_is_refused(
    own: triton.InferenceServerClient, settings: dict[str, Any]
) -> None:
    assert refused(lambda: own.update_log_settings(settings)).code == "INVALID_ARGUMENT"

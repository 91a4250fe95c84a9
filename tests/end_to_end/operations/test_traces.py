"""Traces and the log of a real server: what the collector gets agrees with what the reply says; floods fill no log."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.client import Client
from service.observability.request_log import BURST
from service.pb import fine_tuning_pb2, prediction_pb2
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S, ServerProcess, zoo_home
from tests.support.end_to_end.stubs import RNN, Stubs, stubs_of
from tests.support.end_to_end.user_data import flats_csv
from tests.support.tracing.otlp_receiver import Receiver, attributes_of, otlp_receiver

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SPEECH = (EXAMPLES / "speech.flac").read_bytes()
STAGES = ["receive", "preprocess", "queue", "execute", "postprocess", "reply"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as found:
        yield found


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("home")
    (home / "weights").symlink_to(zoo_home() / "weights")
    settings = {"ZOO_OTLP_ENDPOINT": receiver.endpoint, "ZOO_TRACE_SAMPLE_RATIO": "0", "ZOO_SLOW_REQUEST_MS": "0.001"}
    own = {"ZOO_HOME": str(home), "ZOO_JOB_WORKER_READY_S": "0"}
    with ServerProcess("--model", RNN, **settings, **own) as process:
        yield process.ready()
    process.assert_log_is_clean()


@pytest.fixture(scope="module")
def calls(traced: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(traced) as made:
        yield made


def request(request_id: str = "", model: str = RNN) -> prediction_pb2.PredictRequest:
    instance = prediction_pb2.Instance(audio=SPEECH)
    return prediction_pb2.PredictRequest(model=model, request_id=request_id, instances=[instance])


def sampled(trace: str) -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{trace}-{PARENT}-01"),)


def of_trace(receiver: Receiver, trace: str) -> list[Any]:
    receiver.wait_for("zoo.v1.Prediction/Predict")
    return [span for span in receiver.spans if span.trace_id.hex() == trace]


def test_stages_of_a_trace_last_as_long_as_the_reply_says(calls: Stubs, receiver: Receiver) -> None:
    timing = calls.prediction.Predict(request("timed"), metadata=sampled(TRACE), timeout=TIMEOUT_S).timing
    server, *stages = of_trace(receiver, TRACE)
    assert server.parent_span_id.hex() == PARENT
    assert [span.name for span in stages] == STAGES
    assert {span.parent_span_id for span in stages} == {server.span_id}
    for before, after in itertools.pairwise(stages):
        assert before.end_time_unix_nano <= after.start_time_unix_nano
    lasted = {span.name: span.end_time_unix_nano - span.start_time_unix_nano for span in stages}
    for name in STAGES[1:5]:
        assert lasted[name] == pytest.approx(getattr(timing, name).ToNanoseconds(), abs=2000), name
    assert sum(lasted.values()) <= server.end_time_unix_nano - server.start_time_unix_nano
    execute = attributes_of(stages[3])
    assert (execute["zoo.batch.rows"], execute["zoo.device"]) == (timing.batch_rows, timing.device)
    assert execute["zoo.lane"].startswith("lane-")
    assert attributes_of(server)["zoo.request.id"] == "timed"


def test_slow_request_has_a_line_with_its_stages(calls: Stubs, traced: ServerProcess) -> None:
    timing = calls.prediction.Predict(request("slow-one"), metadata=sampled("1" * 32), timeout=TIMEOUT_S).timing
    line = traced.wait_for("a request was slow", request_id="slow-one")
    assert line["trace_id"] == "1" * 32
    assert line["execute_s"] == pytest.approx(timing.execute.ToNanoseconds() / 1e9, abs=1e-5)
    assert line["seconds"] >= line["preprocess_s"] + line["queue_s"] + line["execute_s"] + line["postprocess_s"] - 1e-5


def test_hostile_request_id_neither_breaks_the_log_nor_the_error(calls: Stubs, traced: ServerProcess) -> None:
    hostile = 'x\r\n{"event":"forged","level":"error"}\x1b[2J'
    with pytest.raises(grpc.RpcError) as caught:
        calls.prediction.Predict(request(hostile, "nobody"), timeout=TIMEOUT_S)
    shown = r'x\r\n{"event":"forged","level":"error"}\x1b[2J'
    line = traced.wait_for("a request failed", request_id=shown)
    assert line["code"] == "NOT_FOUND"
    info = error_details_pb2.RequestInfo()
    assert any(each.Unpack(info) for each in rpc_status.from_call(caught.value).details)
    assert info.request_id == shown
    assert not [event for event in traced.events if event["event"] == "forged"]


def test_flood_of_failures_fills_no_log(calls: Stubs, traced: ServerProcess) -> None:
    sent = 600
    futures = [calls.prediction.Predict.future(request(f"flood-{i}", "nobody"), timeout=TIMEOUT_S) for i in range(sent)]
    assert {future.code() for future in futures} == {grpc.StatusCode.NOT_FOUND}
    lines = [event for event in traced.events if str(event.get("request_id", "")).startswith("flood-")]
    assert len(lines) < BURST + 60, "one a second beyond the burst"


def test_job_is_a_trace_from_its_creation_to_its_version(
    calls: Stubs, traced: ServerProcess, receiver: Receiver, tmp_path: Path
) -> None:
    with Client(traced.target) as client:
        data = client.upload_dataset(flats_csv(tmp_path / "flats.csv"), columns={"target": "rent"})
        spec = fine_tuning_pb2.JobSpec(base="tabular_mlp", dataset_id=data.id, model="flats")
        spec.hyperparameters.update({"epochs": 2})
        caller = "4" * 32
        asked = fine_tuning_pb2.CreateJobRequest(spec=spec)
        job = calls.fine_tuning.CreateJob(asked, metadata=sampled(caller), timeout=TIMEOUT_S).job
        for _ in client.watch_job(job.id):
            pass
        assert client.job(job.id).state == "SUCCEEDED"
    (root,) = receiver.wait_for("job")
    spans = [span for span in receiver.spans if span.trace_id == root.trace_id]
    children = [span.name for span in spans if span.parent_span_id == root.span_id]
    assert sorted(children) == ["attempt", "load", "publish", "validate", "wait"]
    (attempt,) = [span for span in spans if span.name == "attempt"]
    phases = [span.name for span in spans if span.parent_span_id == attempt.span_id]
    assert phases[0] == "start"
    assert {"training", "evaluation"} <= {*phases}
    assert attributes_of(root) | {"zoo.job.state": "succeeded", "zoo.model.name": "flats"} == attributes_of(root)
    (created,) = receiver.wait_for("zoo.v1.FineTuning/CreateJob")
    assert created.trace_id.hex() == caller
    assert [(link.trace_id, link.span_id) for link in created.links] == [(root.trace_id, root.span_id)]


def test_collector_that_refuses_costs_one_line_and_no_request(
    calls: Stubs, traced: ServerProcess, receiver: Receiver
) -> None:
    receiver.code = grpc.StatusCode.UNAUTHENTICATED
    try:
        calls.prediction.Predict(request("while-refused"), metadata=sampled("2" * 32), timeout=TIMEOUT_S)
        line = traced.wait_for("the collector of traces takes no spans")
        assert (line["level"], "UNAUTHENTICATED" in line["reason"]) == ("warning", True)
    finally:
        receiver.code = None
    calls.prediction.Predict(request("taken-again"), metadata=sampled("3" * 32), timeout=TIMEOUT_S)
    traced.wait_for("the collector takes spans again")
    lost = [line for line in traced.get("/metrics").splitlines() if line.startswith("zoo_spans_lost_total ")]
    assert float(lost[0].split()[1]) >= 1 + len(STAGES)


def test_log_holds_nothing_but_json_lines(traced: ServerProcess) -> None:
    for line in traced.err:
        json.loads(line)

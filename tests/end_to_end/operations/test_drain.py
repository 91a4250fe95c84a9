"""The end of a server's life: not ready first, then no new work, then what is in flight is answered."""

from __future__ import annotations

import json
import queue
import signal

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from service.client import Client, Segments
from service.pb import open_inference_pb2, prediction_pb2
from tests.support.end_to_end.bare_server import free_ports
from tests.support.end_to_end.samples import wav
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, until
from tests.support.end_to_end.stubs import (
    RNN,
    Scrape,
    Stubs,
    ask,
    expect_error,
    infer,
    outputs,
    read_error,
    read_status,
    samples,
    stubs_of,
)

FRAME = np.zeros(512, np.float32)
SOUND = ask(RNN, samples(FRAME))
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

PATIENT = {"ZOO_MAX_QUEUE_DELAY_MS": "6000"}
"""Calls wait for others to join their batch, so that they are in flight for as long as a test needs them to be."""


def watch(stubs: Stubs, name: str = "") -> grpc.Future:
    watched = stubs.health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
    assert next(watched).status == SERVING
    return watched


def in_flight(server: ServerProcess) -> float:
    return Scrape(server).value("zoo_in_flight_requests", model=RNN)


def test_sigterm_answers_accepted_calls_and_rejects_new_ones() -> None:
    with ServerProcess("--model", RNN, **PATIENT) as server, stubs_of(server.ready()) as stubs:
        watched = watch(stubs)
        plain = [stubs.prediction.Predict.future(SOUND, timeout=TIMEOUT_S) for _ in range(3)]
        tensors = infer(RNN, samples=FRAME[None])
        tensor_calls = [stubs.inference.ModelInfer.future(tensors, timeout=TIMEOUT_S) for _ in range(2)]
        requests = [prediction_pb2.StreamPredictRequest(request=SOUND) for _ in range(2)]
        stream = stubs.prediction.StreamPredict(iter(requests), timeout=TIMEOUT_S)
        until(lambda: in_flight(server) == 7, "seven calls in flight")

        server.terminate()
        assert next(watched).status == NOT_SERVING
        assert not stubs.inference.ServerReady(open_inference_pb2.ServerReadyRequest()).ready
        assert json.loads(server.get("/healthz")) == {"live": True, "ready": False}
        assert not any(call.done() for call in (*plain, *tensor_calls))
        for attempt in (lambda: stubs.predict(SOUND), lambda: stubs.infer(tensors)):
            refusal = expect_error(attempt)
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DRAINING")
            assert refusal.message == "the server is shutting down and takes no more requests"

        for call in plain:
            assert len(call.result().predictions[0].segments.frame_probabilities) == 1
        for call in tensor_calls:
            assert outputs(call.result())["frames"].tolist() == [[1]]
        assert [reply.WhichOneof("outcome") for reply in stream] == ["response", "response"]

        assert server.wait() == 0
        assert server.wait_for("stopped")["all_answered"] is True


def test_drain_notice_reports_not_ready_while_calls_are_accepted() -> None:
    requests: queue.SimpleQueue[open_inference_pb2.ModelInferRequest | None] = queue.SimpleQueue()
    with ServerProcess("--model", RNN, ZOO_DRAIN_NOTICE_S="4") as server, stubs_of(server.ready()) as stubs:
        stream = stubs.inference.ModelStreamInfer(iter(requests.get, None), timeout=TIMEOUT_S)
        requests.put(infer(RNN, samples=FRAME[None]))
        assert not next(stream).error_message
        watched, of_service, of_model = watch(stubs), watch(stubs, "zoo.v1.Prediction"), watch(stubs, RNN)
        server.process.send_signal(signal.SIGINT)
        assert next(watched).status == NOT_SERVING
        assert next(of_service).status == NOT_SERVING
        assert next(of_model).status == NOT_SERVING
        assert not stubs.serving()
        assert stubs.predict(SOUND).version == 1
        assert server.wait() == 0
        requests.put(None)


@pytest.mark.parametrize("frontend", ["auto", "aio"])
def test_open_stream_refuses_further_requests_and_ends_once_its_requests_are_answered(frontend: str) -> None:
    requests: queue.SimpleQueue[prediction_pb2.StreamPredictRequest | None] = queue.SimpleQueue()
    request = prediction_pb2.StreamPredictRequest(request=SOUND)
    settings = {"ZOO_FRONTEND": frontend, **PATIENT}
    with ServerProcess("--model", RNN, **settings) as server, stubs_of(server.ready()) as stubs:
        idle = stubs.inference.ModelStreamInfer(iter(queue.SimpleQueue().get, None), timeout=TIMEOUT_S)
        stream = stubs.prediction.StreamPredict(iter(requests.get, None), timeout=TIMEOUT_S)
        requests.put(request)
        until(lambda: in_flight(server) == 1, "the request in flight")
        watched = watch(stubs)
        server.terminate()
        assert next(watched).status == NOT_SERVING
        expect_error(lambda: stubs.predict(SOUND))  # nothing new is taken any more
        requests.put(request)
        refused = next(stream)
        assert read_status(refused.error).reason == "DRAINING"
        assert next(stream).WhichOneof("outcome") == "response"
        for ended in (stream, idle):
            error = expect_error(lambda ended=ended: next(ended))  # type: ignore[misc]
            assert (error.code, error.reason) == ("UNAVAILABLE", "DRAINING")
        requests.put(None)
        assert server.wait() == 0
        assert server.wait_for("stopped")["all_answered"] is True


@pytest.mark.parametrize("frontend", ["auto", "aio"])
def test_stream_of_the_sdk_continues_at_the_server_that_starts_in_place(frontend: str) -> None:
    [port] = free_ports(1)
    command = ("--model", RNN, "--port", str(port))
    more: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    sound = wav(FRAME)
    with ServerProcess(*command, ZOO_FRONTEND=frontend) as first, Client(first.ready().target) as client:
        results = client.stream_predict(RNN, iter(more.get, b""))
        more.put(sound)
        before = next(results)
        first.terminate()
        assert first.wait() == 0
        with ServerProcess(*command, ZOO_FRONTEND=frontend) as second:
            second.ready()
            more.put(sound)
            after = next(results)
            more.put(b"")
            assert list(results) == []
    assert isinstance(before, Segments)
    assert isinstance(after, Segments)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-6)


def test_calls_beyond_the_grace_period_end_as_unavailable() -> None:
    settings = {"ZOO_MAX_QUEUE_DELAY_MS": "10000", "ZOO_DRAIN_GRACE_S": "0.2"}
    with ServerProcess("--model", RNN, **settings) as server, stubs_of(server.ready()) as stubs:
        plain = stubs.prediction.Predict.future(SOUND, timeout=TIMEOUT_S)
        tensors = stubs.inference.ModelInfer.future(infer(RNN, samples=FRAME[None]), timeout=TIMEOUT_S)
        until(lambda: in_flight(server) == 2, "two calls in flight")
        server.terminate()
        codes = [read_error(call.exception()).code for call in (plain, tensors)]
        assert codes == ["UNAVAILABLE", "UNAVAILABLE"]
        assert server.wait() == 0
        assert server.wait_for("stopped")["all_answered"] is False

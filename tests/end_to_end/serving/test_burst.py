"""Two hundred calls at once, of every kind: batched, and each answered as if it were alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from service.pb import open_inference_pb2, open_inference_pb2_grpc, prediction_pb2, prediction_pb2_grpc
from tests.support.end_to_end import samples as made
from tests.support.end_to_end.server_process import (
    EXAMPLES,
    TIMEOUT_S,
    ServerProcess,
    until,
)
from tests.support.end_to_end.stubs import (
    CNN,
    RNN,
    TRANSFORMER,
    Scrape,
    Stubs,
    ask,
    infer,
    outputs,
    read_tensors,
    samples,
)

Tensors = dict[str, np.ndarray]
CARDS = Catalog.from_package()
CALLS = 200

SENTENCES = [
    "Yes.",
    "A cat sleeps on the sofa.",
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "word " * 60,
    "Interest rates rose again, and analysts expect the central bank to hold them there until the spring. " * 4,
    "tale " * 400,
]


@dataclass(frozen=True)
class Question:
    """One request of either protocol, and how to read the tensors of its answer."""

    model: str
    request: prediction_pb2.PredictRequest | open_inference_pb2.ModelInferRequest

    def read(self, reply: Any) -> list[Tensors]:
        if isinstance(self.request, prediction_pb2.PredictRequest):
            return [read_tensors(prediction.outputs) for prediction in reply.predictions]
        found = outputs(reply)
        return [{name: array[i] for name, array in found.items()} for i in range(len(next(iter(found.values()))))]


def questions() -> list[Question]:
    """Photos, sentences and sounds of unlike lengths, one or some a request, through both protocols."""
    photos = [(EXAMPLES / name).read_bytes() for name in ("cat.jpg", "coffee.jpg", "rocket.jpg")]
    sounds = [golden_path("speech.flac").read_bytes(), made.wav(made.noise_samples(1.0)), made.wav(np.zeros(5000))]
    found = []
    for photo in photos:
        found.append(Question(CNN, ask(CNN, {"image": photo}, include_tensors=True)))
        found.append(Question(CNN, infer(CNN, image=[photo])))
    found.append(Question(CNN, ask(CNN, *({"image": photo} for photo in photos), include_tensors=True)))
    for sentence in SENTENCES:
        found.append(Question(TRANSFORMER, ask(TRANSFORMER, {"text": sentence}, include_tensors=True)))
        found.append(Question(TRANSFORMER, infer(TRANSFORMER, text=[sentence.encode()])))
    found.append(Question(TRANSFORMER, infer(TRANSFORMER, text=[sentence.encode() for sentence in SENTENCES])))
    for sound in sounds:
        found.append(Question(RNN, ask(RNN, {"audio": sound}, include_tensors=True)))
        found.append(Question(RNN, infer(RNN, audio=[sound])))
    found.append(Question(RNN, ask(RNN, samples(made.noise_samples(0.7, seed=3)), include_tensors=True)))
    return found


def equal(model: str, one: list[Tensors], other: list[Tensors]) -> None:
    """Within what the model's card states."""
    tolerance = CARDS.get(model).tolerance.max_abs_error
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].shape == b[name].shape
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance, err_msg=f"{model} {name}")


@dataclass(frozen=True)
class Burst:
    """What came of it, and the metrics before and after."""

    asked: list[Question]
    replies: list[Any]
    singles: dict[int, list[Tensors]]
    before: Scrape
    after: Scrape

    def moved(self, name: str, **labels: str) -> float:
        return self.after.value(name, **labels) - self.before.value(name, **labels)


@pytest.fixture(scope="module")
def burst(server: ServerProcess, stubs: Stubs) -> Burst:
    kinds = questions()
    singles = {}
    for question in kinds:
        call = stubs.predict if isinstance(question.request, prediction_pb2.PredictRequest) else stubs.infer
        singles[id(question)] = question.read(call(question.request))
    random.seed(20)
    asked = kinds + random.choices(kinds, k=CALLS - len(kinds))
    random.shuffle(asked)
    before = Scrape(server)
    replies = asyncio.run(_all_at_once(server.target, [question.request for question in asked]))
    until(lambda: Scrape(server).value("zoo_in_flight_requests") == 0, "nothing in flight")
    return Burst(asked, replies, singles, before, Scrape(server))


async def _all_at_once(target: str, requests: list[Any]) -> list[Any]:
    async with grpc.aio.insecure_channel(target) as channel:
        predict = prediction_pb2_grpc.PredictionStub(channel).Predict
        model_infer = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        calls: list[Callable[..., Any]] = [
            predict if isinstance(request, prediction_pb2.PredictRequest) else model_infer for request in requests
        ]
        pending = [call(request, timeout=TIMEOUT_S) for call, request in zip(calls, requests, strict=True)]
        return await asyncio.gather(*pending)


def test_batched_answers_equal_single_answers(burst: Burst) -> None:
    assert len(burst.replies) == CALLS
    for question, reply in zip(burst.asked, burst.replies, strict=True):
        equal(question.model, question.read(reply), burst.singles[id(question)])


@pytest.mark.parametrize("model", [CNN, RNN, TRANSFORMER])
def test_calls_of_a_burst_are_batched(burst: Burst, model: str) -> None:
    before, after = (scrape.buckets("zoo_batch_size", model=model) for scrape in (burst.before, burst.after))
    alone = after[1.0] - before.get(1.0, 0)
    batches = burst.moved("zoo_batch_size_count", model=model)
    assert batches > alone, "no batch held more than one row"
    rows = sum(len(burst.singles[id(question)]) for question in burst.asked if question.model == model)
    assert burst.moved("zoo_batch_size_sum", model=model) == rows
    assert batches < rows / 2
    told = [
        r.timing.batch_rows for r in burst.replies if isinstance(r, prediction_pb2.PredictResponse) and r.model == model
    ]
    assert max(told) > 1
    most = CARDS.get(model).batching.max_batch_size
    assert max(told) <= most
    assert after[float("inf")] == next(count for bound, count in sorted(after.items()) if bound >= most)


@pytest.mark.parametrize("model", [CNN, RNN, TRANSFORMER])
def test_every_call_of_a_burst_is_counted_and_timed(burst: Burst, model: str) -> None:
    for method, kind in (
        ("Predict", prediction_pb2.PredictRequest),
        ("ModelInfer", open_inference_pb2.ModelInferRequest),
    ):
        asked = sum(q.model == model and isinstance(q.request, kind) for q in burst.asked)
        labels = {"method": method, "model": model, "version": "1"}
        assert burst.moved("zoo_requests_total", code="OK", **labels) == asked
        assert burst.moved("zoo_requests_total", **labels) == asked
        assert burst.moved("zoo_request_duration_seconds_count", **labels) == asked
        assert burst.moved("zoo_request_duration_seconds_sum", **labels) > 0
    asked = sum(question.model == model for question in burst.asked)
    for stage in ("preprocess", "queue", "execute", "postprocess"):
        labels = {"model": model, "version": "1", "stage": stage}
        assert burst.moved("zoo_stage_duration_seconds_count", **labels) == asked
        assert burst.moved("zoo_stage_duration_seconds_sum", **labels) > 0
    assert burst.after.labels("zoo_requests_total") == {"method", "code", "model", "version"}


@pytest.mark.parametrize("model", [CNN, RNN, TRANSFORMER])
def test_burst_leaves_nothing_queued_or_in_flight(burst: Burst, server: ServerProcess, model: str) -> None:
    assert burst.after.value("zoo_in_flight_requests", model=model, version="1") == 0
    assert burst.after.value("zoo_queue_depth", model=model, version="1") == 0
    assert burst.moved("zoo_rejected_total") == 0


def test_padding_ratio_of_every_batch_is_reported_and_small(burst: Burst) -> None:
    for model in (CNN, RNN, TRANSFORMER):
        batches = burst.moved("zoo_batch_size_count", model=model)
        assert burst.moved("zoo_batch_padding_ratio_count", model=model) == batches > 0
        assert burst.moved("zoo_batch_padding_ratio_sum", model=model) <= 0.25 * batches, (
            "neighbours in length ride together"
        )
    assert burst.moved("zoo_batch_padding_ratio_sum", model=CNN) == 0


def test_metrics_report_memory_and_state_of_device_and_models(burst: Burst) -> None:
    assert burst.moved("zoo_device_busy_seconds_total", device="cpu") > 0
    held = 0.0
    for model in (CNN, RNN, TRANSFORMER):
        assert burst.after.value("zoo_model_state", model=model, state="READY") == 1
        assert burst.after.value("zoo_model_state", model=model) == 1
        assert burst.after.value("zoo_model_load_seconds", model=model, version="1") > 0
        memory = burst.after.value("zoo_model_memory_bytes", model=model, version="1")
        assert memory >= 4 * CARDS.get(model).parameters
        held += memory
    assert burst.after.value("zoo_device_memory_bytes", device="cpu", kind="weights") == held
    assert "process_resident_memory_bytes" in burst.after.families


def test_rows_beyond_a_batch_are_split_and_answered_in_order(stubs: Stubs) -> None:
    rows = np.random.default_rng(5).standard_normal((40, 3, 224, 224)).astype(np.float32)
    together = outputs(stubs.infer(infer(CNN, pixel_values=rows)))["logits"]
    assert together.shape == (40, 1000)
    for i in (0, 15, 31, 32, 39):
        alone = outputs(stubs.infer(infer(CNN, pixel_values=rows[i : i + 1])))["logits"]
        np.testing.assert_allclose(together[i], alone[0], rtol=0, atol=CARDS.get(CNN).tolerance.max_abs_error)

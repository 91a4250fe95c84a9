"""zoo.v1.Prediction as a client sees it: one call, and many on a stream."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio

from service.errors import InvalidInput, NotFound, QueueFull
from service.pb import prediction_pb2 as pb
from service.types import InferReply, InferRequest, Prediction, Timing
from service.wire.zoo_v1.prediction import STREAM_WINDOW, PredictionServicer
from tests.support.wire.calls import (
    PATIENCE_S,
    detail,
    echo,
    request,
    status_in,
    until,
    wired,
)
from tests.support.wire.open_inference import Caller

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]
GOOD = Prediction({"y": np.zeros(1, np.float32)})


def reply_of(*predictions: Any) -> Any:
    return lambda asked: InferReply("m", 1, asked.request_id, predictions, Timing())


# ── one call ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_comes_back_under_the_callers_id() -> None:
    async with wired() as w:
        response = await w.prediction.Predict(request("m", "a", "b", request_id="mine", version="1"))
        assert (response.model, response.version, response.request_id) == ("m", 1, "mine")
        assert len(response.predictions) == 2
        assert response.timing.batch_rows == 5
        (asked,) = w.pipeline.requests
        assert (asked.model, asked.version) == ("m", "1")


async def test_an_instance_that_failed_does_not_fail_its_neighbours() -> None:
    async with wired(reply_of(GOOD, InvalidInput("instances[1]", "is empty"), GOOD)) as w:
        response = await w.prediction.Predict(request("m", "a", "b", "c"))
        assert [result.WhichOneof("result") for result in response.predictions] == ["tensors", "error", "tensors"]


async def test_a_call_fails_with_the_first_error_when_every_instance_did() -> None:
    async with wired(reply_of(QueueFull("m", 1, 1, 0.5), InvalidInput("instances[1]", "is empty"))) as w:
        with pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request("m", "a", "b"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail(status_in(caught.value), details.RetryInfo) is not None
        assert w.calls("Predict", "RESOURCE_EXHAUSTED") == 1


async def test_tensors_are_sent_only_where_requested() -> None:
    async with wired() as w:
        plain = await w.prediction.Predict(request())
        both = await w.prediction.Predict(request(options=pb.PredictOptions(include_tensors=True)))
        assert not plain.predictions[0].HasField("outputs")
        assert both.predictions[0].HasField("outputs")


async def test_deadline_of_the_client_reaches_the_pipeline() -> None:
    async with wired() as w:
        before = time.monotonic()
        await w.prediction.Predict(request(), timeout=1000)
        await w.prediction.Predict(request())
        first, second = (asked.deadline for asked in w.pipeline.requests)
        assert first is not None
        assert before + 900 < first < time.monotonic() + 1100  # gRPC rounds timeouts
        assert second is None


async def test_a_client_that_cancels_cancels_the_work() -> None:
    async with wired() as w:
        w.pipeline.gates["r"] = asyncio.Event()
        call = w.prediction.Predict(request("m", request_id="r"))
        waiting = asyncio.ensure_future(call)
        await until(lambda: "r" in w.pipeline.inside)
        call.cancel()
        await asyncio.wait([waiting])
        await until(lambda: w.pipeline.cancelled == ["r"])


async def test_a_client_whose_deadline_passes_cancels_the_work() -> None:
    async with wired() as w:
        w.pipeline.gates["r"] = asyncio.Event()
        with pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request("m", request_id="r"), timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: not w.pipeline.inside)


# ── a stream ──────────────────────────────────────────────────────────────────────────────────────────────────────


def message(request_id: str, model: str = "m", **fields: Any) -> pb.StreamPredictRequest:
    return pb.StreamPredictRequest(request=request(model, request_id=request_id, **fields))


class Sender:
    """Sends when the test says so."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[pb.StreamPredictRequest | None] = asyncio.Queue()

    def send(self, *messages: pb.StreamPredictRequest) -> None:
        for one in messages:
            self._queue.put_nowait(one)

    def close(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[pb.StreamPredictRequest]:
        while (one := await self._queue.get()) is not None:
            yield one


async def test_every_request_of_a_stream_is_answered_under_its_id() -> None:
    async with wired() as w:
        ids = [str(i) for i in range(300)]
        replies = [r async for r in w.prediction.StreamPredict(iter([message(i) for i in ids]))]
        assert sorted(r.request_id for r in replies) == sorted(ids)
        assert all(r.response.request_id == r.request_id for r in replies)


async def test_replies_are_sent_as_they_complete() -> None:
    async with wired() as w:
        w.pipeline.gates["slow"] = asyncio.Event()
        sender = Sender()
        call = w.prediction.StreamPredict(sender)
        sender.send(message("slow"), message("quick"))
        assert (await call.read()).request_id == "quick"
        w.pipeline.gates["slow"].set()
        assert (await call.read()).request_id == "slow"
        sender.close()
        assert await call.read() is aio.EOF


async def test_an_error_in_the_middle_keeps_the_stream_open() -> None:
    def answer(asked: InferRequest) -> InferReply:
        if asked.model == "missing":
            raise NotFound("model", "missing")
        if asked.model == "broken":
            raise ValueError("a foreign text")
        if asked.model == "all bad":
            return InferReply("m", 1, asked.request_id, [InvalidInput("instances[0]", "is empty")], Timing())
        return echo(asked)

    async with wired(answer) as w:
        sender = Sender()
        call = w.prediction.StreamPredict(sender)
        for request_id, model, code in [
            ("1", "m", None),
            ("2", "missing", grpc.StatusCode.NOT_FOUND),
            ("3", "broken", grpc.StatusCode.INTERNAL),
            ("4", "", grpc.StatusCode.INVALID_ARGUMENT),
            ("5", "all bad", grpc.StatusCode.INVALID_ARGUMENT),
            ("6", "m", None),
        ]:
            sender.send(message(request_id, model))
            reply = await call.read()
            assert reply.request_id == request_id
            if code is None:
                assert reply.HasField("response")
            else:
                assert reply.error.code == code.value[0]
                assert "foreign" not in reply.error.message
        sender.close()
        assert await call.read() is aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_message_without_a_request_is_answered_with_an_error() -> None:
    async with wired() as w:
        (reply,) = [r async for r in w.prediction.StreamPredict(iter([pb.StreamPredictRequest()]))]
        assert reply.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_request_of_a_stream_without_an_id_gets_one() -> None:
    async with wired() as w:
        (reply,) = [r async for r in w.prediction.StreamPredict(iter([message("")]))]
        assert reply.request_id == reply.response.request_id != ""


async def test_a_client_that_leaves_its_stream_cancels_all_its_work() -> None:
    async with wired() as w:
        for i in range(5):
            w.pipeline.gates[str(i)] = asyncio.Event()
        sender = Sender()
        call = w.prediction.StreamPredict(sender)
        sender.send(*[message(str(i)) for i in range(5)])
        await until(lambda: len(w.pipeline.inside) == 5)
        call.cancel()
        await until(lambda: not w.pipeline.inside)
        assert sorted(w.pipeline.cancelled) == list("01234")


@pytest.mark.parametrize(("remaining", "code"), [(None, "CANCELLED"), (0.0, "DEADLINE_EXCEEDED")])
async def test_every_request_of_an_ended_stream_is_counted(remaining: float | None, code: str) -> None:
    async with wired() as w:
        w.pipeline.gates = {"a": asyncio.Event(), "b": asyncio.Event()}
        caller = Caller([message("a"), message("b")])
        servicer = PredictionServicer(cast(Any, w.pipeline), w.recorder)
        stream = asyncio.create_task(servicer.StreamPredict(caller, caller))  # type: ignore[arg-type]
        await until(lambda: len(w.pipeline.inside) == 2)
        caller.remaining = remaining
        stream.cancel()
        await asyncio.wait([stream])
        assert w.calls("StreamPredict", code) == 2


async def test_a_half_closed_stream_still_gets_its_answers() -> None:
    async with wired() as w:
        w.pipeline.gates["a"] = asyncio.Event()
        sender = Sender()
        call = w.prediction.StreamPredict(sender)
        sender.send(message("a"))
        sender.close()
        await until(lambda: w.pipeline.inside)
        w.pipeline.gates["a"].set()
        assert (await call.read()).request_id == "a"
        assert await call.read() is aio.EOF


async def test_requests_under_way_on_a_stream_are_bounded() -> None:
    async with wired() as w:
        ids = [str(i) for i in range(STREAM_WINDOW + 40)]
        gate = asyncio.Event()
        w.pipeline.gates = dict.fromkeys(ids, gate)
        sender = Sender()
        call = w.prediction.StreamPredict(sender)
        sender.send(*[message(i) for i in ids])
        sender.close()
        await until(lambda: len(w.pipeline.inside) == STREAM_WINDOW)
        await w.prediction.Predict(request("m", request_id="beside"))  # a whole round trip later
        assert len(w.pipeline.inside) == STREAM_WINDOW
        gate.set()
        async with asyncio.timeout(PATIENCE_S):
            replies = [r async for r in call]
        assert {r.request_id for r in replies} == set(ids)


async def test_the_streams_deadline_is_that_of_its_requests() -> None:
    async with wired() as w:
        before = time.monotonic()
        _ = [r async for r in w.prediction.StreamPredict(iter([message("a"), message("b")]), timeout=1000)]
        for asked in w.pipeline.requests:
            assert asked.deadline is not None
            assert before + 900 < asked.deadline < time.monotonic() + 1100

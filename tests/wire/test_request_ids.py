"""A request's id: the caller's or one that the server makes, in error details and the log; whatever a caller puts into it."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio
from structlog.testing import capture_logs

from service.errors import InvalidInput, NotFound
from service.observability.request_log import RequestLog
from service.pb import open_inference_pb2 as pb
from service.pb import prediction_pb2
from tests.support.wire.calls import detail, request, status_in, wired
from tests.support.wire.open_inference import asks, served

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]

HOSTILE = [
    "two\nlines",
    'x\r\n{"event":"forged"}',
    "\x00\x1b[2J\x7f",
    "grpc-status: 0\r\n\r\n",
    "%0d%0a",
    "ü" * 1000,
    "x" * 1_000_000,
]


async def id_of(call: Any) -> tuple[str, grpc.StatusCode]:
    """The id in the details of a call's error, and its code."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    info = detail(status_in(caught.value), details.RequestInfo)
    assert info is not None
    return info.request_id, caught.value.code()


def lines_of(logs: Any) -> list[Any]:
    return [line for line in logs if line["event"] == "a request failed"]


async def test_error_of_zoo_v1_repeats_the_id_of_its_request() -> None:
    def fail(_: Any) -> Any:
        raise NotFound("model", "m")

    async with wired(fail) as zoo:
        zoo.recorder.call_log = RequestLog()
        with capture_logs() as logs:
            found = await id_of(zoo.prediction.Predict(request(request_id="mine")))
        assert found == ("mine", grpc.StatusCode.NOT_FOUND)
        assert [line["request_id"] for line in lines_of(logs)] == ["mine"]


async def test_error_of_a_request_without_an_id_has_one_that_the_log_has_too() -> None:
    def fail(_: Any) -> Any:
        raise InvalidInput("instances", "are wrong")

    async with wired(fail) as zoo:
        zoo.recorder.call_log = RequestLog()
        with capture_logs() as logs:
            first, _ = await id_of(zoo.prediction.Predict(request()))
            second, _ = await id_of(zoo.prediction.Predict(request()))
        assert first != second
        assert [line["request_id"] for line in lines_of(logs)] == [first, second]


async def test_error_on_a_stream_of_zoo_v1_has_the_id_in_its_details() -> None:
    def fail(_: Any) -> Any:
        raise InvalidInput("instances", "are wrong")

    async with wired(fail) as zoo:
        message = prediction_pb2.StreamPredictRequest(request=request(request_id="third"))
        (reply,) = [each async for each in zoo.prediction.StreamPredict(iter([message]))]
        info = detail(reply.error, details.RequestInfo)
        assert (reply.request_id, info and info.request_id) == ("third", "third")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda message: message.raw_input_contents.__setitem__(0, b"123"), grpc.StatusCode.INVALID_ARGUMENT),
        (lambda message: setattr(message, "model_name", "nobody"), grpc.StatusCode.NOT_FOUND),
        (
            lambda message: message.parameters["timeout"].__setattr__("int64_param", -1),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_error_of_open_inference_repeats_the_id_of_its_request(wrong: Any, code: grpc.StatusCode) -> None:
    async with served(calls=RequestLog()) as (_, stub):
        message = asks(1.0, request_id="mine")
        wrong(message)
        with capture_logs() as logs:
            assert await id_of(stub.ModelInfer(message)) == ("mine", code)
        assert [line["request_id"] for line in lines_of(logs)] == ["mine"]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_id_is_bounded_and_escaped_in_details_and_log_and_returned_as_it_came_in_a_reply(hostile: str) -> None:
    async with served(calls=RequestLog()) as (_, stub):
        with capture_logs() as logs:
            shown, code = await id_of(stub.ModelInfer(asks(1.0, request_id=hostile, model="nobody")))
        assert code is grpc.StatusCode.NOT_FOUND
        assert shown.isprintable()
        assert len(shown) <= 128
        (line,) = lines_of(logs)
        assert line["request_id"].isprintable()
        assert line["request_id"][:20] == shown[:20]
        assert (await stub.ModelInfer(asks(1.0, request_id=hostile))).id == hostile


async def test_failed_request_of_an_inference_stream_is_logged_with_its_id() -> None:
    async with served(calls=RequestLog()) as (_, stub):
        with capture_logs() as logs:
            replies = [each async for each in stub.ModelStreamInfer(iter([asks(1.0, request_id="b", model="nobody")]))]
        assert [reply.infer_response.id for reply in replies] == ["b"]
        (line,) = lines_of(logs)
        assert (line["method"], line["code"], line["request_id"]) == ("ModelStreamInfer", "NOT_FOUND", "b")


async def test_request_that_cannot_be_read_gets_an_id() -> None:
    async with served(calls=RequestLog()) as (_, stub):
        port = stub.ModelInfer  # a stub of the generated code cannot send bytes that are no message
        message = pb.ModelInferRequest(model_name="adder", id="x")
        assert (await id_of(port(message)))[0] == "x"

"""Around every call: it is counted by its real status, and nothing foreign leaks out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio
from structlog.testing import capture_logs

from service.database import DatabaseUnavailable
from service.errors import InternalError, InvalidInput, NotFound
from service.observability.recorder import Call
from service.pb import prediction_pb2 as pb
from service.wire.calls import to_zoo_error
from tests.support.wire.calls import (
    detail,
    echo,
    request,
    status_in,
    until,
    wired,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]
SECRET = "password=hunter2 in /a/path"


def fails_with(error: BaseException) -> Any:
    def fail(_: Any) -> Any:
        raise error

    return fail


# ── unary ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_that_succeeds_is_counted_with_its_model() -> None:
    async with wired() as w:
        await w.prediction.Predict(request("known"))
        await w.prediction.Predict(request("known"))
        assert w.calls("Predict", "OK", "known", "1") == 2
        labels = {"model": "known", "version": "1", "method": "Predict"}
        assert w.metrics.get_sample_value("zoo_request_duration_seconds_count", labels) == 2


async def test_a_call_that_fails_is_counted_by_its_status() -> None:
    async with wired(fails_with(InvalidInput("a", "b"))) as w:
        with pytest.raises(aio.AioRpcError):
            await w.prediction.Predict(request("known"))
        assert w.calls("Predict", "INVALID_ARGUMENT", "known", "1") == 1
        with pytest.raises(aio.AioRpcError):
            await w.prediction.Predict(pb.PredictRequest())  # refused before a model is known
        assert w.calls("Predict", "INVALID_ARGUMENT") == 1


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), KeyError(SECRET), ExceptionGroup("g", [RuntimeError(SECRET)]), AssertionError(SECRET)]
)
async def test_foreign_error_is_logged_and_its_text_does_not_leak(error: Exception) -> None:
    async with wired(fails_with(error)) as w:
        with capture_logs() as logs, pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request("known"))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        whole = f"{caught.value.details()} {status_in(caught.value)} {caught.value.trailing_metadata()}"
        for leak in ("hunter2", "/a/path", type(error).__name__, "Traceback"):
            assert leak not in whole
        (line,) = [entry for entry in logs if entry["event"] == "unexpected error"]
        assert line["exc_info"] is error
        assert line["method"] == "Predict"
        assert line["reference"] in (caught.value.details() or "")
        info = detail(status_in(caught.value), details.ErrorInfo)
        assert info is not None
        assert info.reason == "INTERNAL"
        assert w.calls("Predict", "INTERNAL", "known", "1") == 1


async def test_database_outage_is_unavailable_with_a_retry_hint() -> None:
    async with wired(fails_with(DatabaseUnavailable(SECRET))) as w:
        with pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request("known"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the server's database does not answer; try again"
        assert detail(status_in(caught.value), details.RetryInfo) is not None


async def test_zoo_error_is_passed_on_unchanged() -> None:
    error = NotFound("model", "x")
    assert to_zoo_error(error, "Predict", Call()) is error
    foreign = to_zoo_error(ValueError(SECRET), "Predict", Call())
    assert isinstance(foreign, InternalError)
    assert SECRET not in foreign.message


async def test_a_call_that_its_caller_cancels_is_counted_as_cancelled() -> None:
    async with wired() as w:
        w.pipeline.gates["r"] = asyncio.Event()
        call = w.prediction.Predict(request("known", request_id="r"))
        waiting = asyncio.ensure_future(call)
        await until(lambda: "r" in w.pipeline.inside)
        call.cancel()
        await asyncio.wait([waiting])
        await until(lambda: w.pipeline.cancelled == ["r"])
        await until(lambda: w.calls("Predict", "CANCELLED", "known", "1") == 1)


async def test_unknown_names_in_requests_never_become_labels() -> None:
    async with wired(fails_with(NotFound("model", "x"))) as w:
        for i in range(20):
            with pytest.raises(aio.AioRpcError):
                await w.prediction.Predict(request(f"attack-{i}", version=f"attack-{i}", request_id=f"attack-{i}"))
            for path in (f"/attack/{i}", f"/zoo.v1.Prediction/attack{i}"):
                with pytest.raises(aio.AioRpcError) as caught:
                    await w.channel.unary_unary(path)(b"")
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert w.calls("Predict", "NOT_FOUND") == 20
        assert not any("attack" in value for value in w.label_values())


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


def handler(name: str) -> Any:
    """A handler of the shape, and with the end, that its method's name says."""

    async def end(context: Any) -> None:
        if name.startswith("Ours"):
            raise InvalidInput("a", "b")
        if name.startswith("Foreign"):
            raise ValueError(SECRET)
        if name.startswith("Abort"):
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by itself")

    async def stream(message: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"
        await end(context)

    async def unary(message: bytes, context: Any) -> bytes:
        await end(context)
        return b"1"

    async def writes(message: bytes, context: Any) -> None:
        await context.write(b"1")
        await end(context)

    async def gathers(messages: AsyncIterator[bytes], context: Any) -> bytes:
        whole = b"".join([message async for message in messages])
        await end(context)
        return whole

    if name.endswith("Gathers"):
        return grpc.stream_unary_rpc_method_handler(gathers)
    if name.endswith("Stream"):
        return grpc.unary_stream_rpc_method_handler(stream)
    if name.endswith("Writes"):
        return grpc.unary_stream_rpc_method_handler(writes)
    return grpc.unary_unary_rpc_method_handler(unary)


HANDLERS = {
    f"{end}{shape}": handler(f"{end}{shape}")
    for end in ("Ours", "Foreign", "Abort", "Well")
    for shape in ("Stream", "Writes", "Unary", "Gathers")
}


ENDS = [
    ("Ours", grpc.StatusCode.INVALID_ARGUMENT, "a: b"),
    ("Foreign", grpc.StatusCode.INTERNAL, "internal error"),
    ("Abort", grpc.StatusCode.OUT_OF_RANGE, "by itself"),
]


@pytest.mark.parametrize(("end", "code", "says"), ENDS)
@pytest.mark.parametrize("shape", ["Stream", "Writes", "Unary", "Gathers"])
async def test_every_kind_of_rpc_ends_with_its_status_and_is_counted_once(
    shape: str, end: str, code: grpc.StatusCode, says: str
) -> None:
    async with wired(more=HANDLERS) as w:
        got: list[bytes] = []

        async def call() -> None:
            if shape == "Unary":
                await w.channel.unary_unary(f"/s/{end}{shape}")(b"")
            elif shape == "Gathers":
                await w.channel.stream_unary(f"/s/{end}{shape}")(iter([b"1", b"2"]))
            else:
                async for reply in w.channel.unary_stream(f"/s/{end}{shape}")(b""):
                    got.append(reply)

        with pytest.raises(aio.AioRpcError) as caught:
            await call()
        assert got == {"Stream": [b"1", b"2"], "Writes": [b"1"]}.get(shape, [])
        assert caught.value.code() is code
        assert says in (caught.value.details() or "")
        assert SECRET not in (caught.value.details() or "")
        method = f"{end}{shape}" if shape in ("Unary", "Gathers") else f"{end}{shape}.stream"
        await until(lambda: w.calls(method, code.name))  # the call is counted once its end has been sent
        assert w.calls(method, code.name) == 1


@pytest.mark.parametrize("shape", ["Stream", "Writes"])
async def test_a_stream_that_ends_well_is_counted_so(shape: str) -> None:
    async with wired(more=HANDLERS) as w:
        assert [r async for r in w.channel.unary_stream(f"/s/Well{shape}")(b"")]
        await until(lambda: w.calls(f"Well{shape}.stream", "OK") == 1)


async def test_streamed_request_counts_as_one_call() -> None:
    async with wired(more=HANDLERS) as w:
        assert await w.channel.stream_unary("/s/WellGathers")(iter([b"a", b"b", b"c"])) == b"abc"
        assert w.calls("WellGathers", "OK") == 1


async def test_the_requests_of_a_stream_are_counted_one_by_one_beside_the_stream() -> None:
    def answer(asked: Any) -> Any:
        if asked.request_id == "b":
            raise InvalidInput("a", "b")
        if asked.request_id == "c":
            raise ValueError(SECRET)
        return echo(asked)

    async with wired(answer) as w:
        messages = [pb.StreamPredictRequest(request=request("known", request_id=i)) for i in "abc"]
        replies = {r.request_id: r async for r in w.prediction.StreamPredict(iter(messages))}
        assert replies["a"].HasField("response")
        assert replies["b"].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert replies["c"].error.code == grpc.StatusCode.INTERNAL.value[0]
        assert SECRET not in str(replies["c"])
        for code in ("OK", "INVALID_ARGUMENT", "INTERNAL"):
            assert w.calls("StreamPredict", code, "known", "1") == 1
        await until(lambda: w.calls("StreamPredict.stream", "OK") == 1)

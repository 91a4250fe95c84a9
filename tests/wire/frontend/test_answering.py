"""Calls that a coroutine answers: counted once, cancelled with their caller, and never without an answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2 as details
from prometheus_client import CollectorRegistry

from service.errors import InvalidInput
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.wire.calls import CountedCall
from service.wire.frontend.answering import CountedStream, answer, check_hint, parsed
from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.streams import StreamCall
from tests.support.wire.calls import detail, status_in, until
from tests.support.wire.frontend_methods import Methods, failure, served

pytestmark = pytest.mark.asyncio
TEXT = StringValue(value="x").SerializeToString()


class Counted:
    """Methods whose calls are counted: a unary one that a coroutine answers, and a stream that gives its messages back."""

    def __init__(self, work: Callable[[StringValue], Coroutine[Any, Any, Message]] | None = None) -> None:
        self.metrics = CollectorRegistry()
        self._recorder = Recorder(Metrics(self.metrics), Statistics(lambda: 0))
        self._work = work or self._echo
        self.methods = Methods(self._unary, self._open)

    def count(self, method: str, code: str) -> float:
        labels = {"model": "", "version": "", "method": method, "code": code}
        return self.metrics.get_sample_value("zoo_requests_total", labels) or 0.0

    async def _echo(self, request: StringValue) -> Message:
        return request

    def _unary(self, call: UnaryCall) -> None:
        counted = CountedCall(self._recorder, "Unary", call)
        request = parsed(call, counted, StringValue.FromString)
        if request is None:
            return
        try:
            check_hint(call, request.value, "1")
        except InvalidInput as error:
            call.fail(counted.failed(error))
        else:
            answer(call, counted, self._work(request))

    def _open(self, stream: StreamCall) -> CountedStream[StringValue]:
        def begin(request: StringValue, stream: StreamCall) -> None:
            stream.start(self._work(request))

        return CountedStream(stream, self._recorder, "Stream", StringValue.FromString, begin)


# ── unary ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_answer_of_a_coroutine_is_sent_and_counted() -> None:
    counted = Counted()
    async with served(counted.methods) as s:
        assert await s.call(TEXT) == TEXT
        assert counted.count("Unary", "OK") == 1


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    counted = Counted()
    async with served(counted.methods) as s:
        error = await failure(s.call(b"\xff\xff"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "the request cannot be read" in (error.details() or "")
        assert counted.count("Unary", "INVALID_ARGUMENT") == 1
        await s.until_idle()


async def test_error_of_a_coroutine_is_the_status() -> None:
    async def refuse(_: StringValue) -> Message:
        raise InvalidInput("a", "b")

    async def crash(_: StringValue) -> Message:
        raise ValueError("secret")

    for work, code in ((refuse, grpc.StatusCode.INVALID_ARGUMENT), (crash, grpc.StatusCode.INTERNAL)):
        counted = Counted(work)
        async with served(counted.methods) as s:
            error = await failure(s.call(TEXT))
            assert error.code() is code
            assert "secret" not in str(error)
            assert counted.count("Unary", code.name) == 1
            await s.until_idle()


async def test_reply_that_cannot_be_written_is_internal() -> None:
    class Unwritable:
        def SerializeToString(self) -> bytes:
            raise ValueError("secret")

    async def work(_: StringValue) -> Any:
        return Unwritable()

    counted = Counted(work)
    async with served(counted.methods) as s:
        error = await failure(s.call(TEXT, timeout=20.0))
        assert error.code() is grpc.StatusCode.INTERNAL
        await s.until_idle()


@pytest.mark.parametrize(("timeout_s", "code"), [(None, "CANCELLED"), (0.05, "DEADLINE_EXCEEDED")])
async def test_caller_who_leaves_cancels_the_coroutine(timeout_s: float | None, code: str) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_: StringValue) -> Message:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    counted = Counted(wait)
    async with served(counted.methods) as s:
        call = s.call(TEXT, timeout=timeout_s)
        await began.wait()
        if timeout_s is None:
            call.cancel()
        await cancelled.wait()
        await until(lambda: counted.count("Unary", code) == 1)
        await s.until_idle()


async def test_caller_who_leaves_before_the_coroutine_begins_is_counted_and_nothing_is_left_unawaited() -> None:
    async def never(_: StringValue) -> Message:
        raise AssertionError

    counted, handled = Counted(never), asyncio.Event()
    unary = counted.methods.unary

    def handle(call: UnaryCall) -> None:
        unary(call)
        assert call.on_cancel is not None
        call.on_cancel()  # in the same turn of the loop
        call.on_cancel = None
        handled.set()

    counted.methods.unary = handle
    async with served(counted.methods) as s:
        call = asyncio.ensure_future(s.call(TEXT))
        await handled.wait()
        assert counted.count("Unary", "CANCELLED") == 1
        call.cancel()
        await asyncio.wait([call])
        await s.until_idle()


# ── hints ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metadata", "field", "problem"),
    [
        ((("zoo-model", "y"),), "metadata[zoo-model]", "expected 'x' as in the message, got 'y'"),
        (
            (("zoo-model", "x"), ("zoo-version", "2")),
            "metadata[zoo-version]",
            "expected '1' as in the message, got '2'",
        ),
    ],
)
async def test_metadata_that_contradict_the_message_are_an_invalid_argument(
    metadata: Any, field: str, problem: str
) -> None:
    counted = Counted()
    async with served(counted.methods) as s:
        error = await failure(s.call(TEXT, metadata=metadata))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        bad = detail(status_in(error), details.BadRequest)
        assert bad is not None
        assert [(v.field, v.description) for v in bad.field_violations] == [(field, problem)]
        assert counted.count("Unary", "INVALID_ARGUMENT") == 1


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("zoo-model", "x"),),
        (("zoo-model", "x"), ("zoo-version", "1")),
        (("zoo-version", "2"),),  # names no model, so it is no hint
        (("zoo-model", ""),),
    ],
)
async def test_metadata_that_agree_with_the_message_change_nothing(metadata: Any) -> None:
    async with served(Counted().methods) as s:
        assert await s.call(TEXT, metadata=metadata) == TEXT


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stream_is_counted_once_by_its_end() -> None:
    counted = Counted()
    async with served(counted.methods) as s:
        assert [reply async for reply in s.stream(TEXT, TEXT)] == [TEXT, TEXT]
        assert counted.count("Stream.stream", "OK") == 1
        stream = s.stream()
        await stream.write(b"\xff\xff")
        assert (await failure(stream.read())).code() is grpc.StatusCode.INVALID_ARGUMENT
        assert counted.count("Stream.stream", "INVALID_ARGUMENT") == 1
        stream = s.stream()
        await stream.write(TEXT)
        await stream.read()
        stream.cancel()
        await until(lambda: counted.count("Stream.stream", "CANCELLED") == 1)
        await s.until_idle()

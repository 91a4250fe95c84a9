"""A stream: replies side by side, bounded by its limit, with one status however it ends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status
from structlog.testing import capture_logs

from service.errors import Draining, InvalidInput
from service.wire.frontend import backpressure
from service.wire.frontend.streams import StreamCall
from service.wire.stopping import Stopping
from tests.support.wire.calls import until
from tests.support.wire.frontend_methods import (
    STREAM,
    Bytes,
    EchoStream,
    KeptCalls,
    KeptStream,
    KeptStreams,
    Methods,
    code,
    failure,
    served,
)
from tests.support.wire.raw_http2 import END_STREAM, connected, message

pytestmark = pytest.mark.asyncio
OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 4, 8


async def all_of(stream: Any) -> list[bytes]:
    return [reply async for reply in stream]


async def ending(stream: Any) -> tuple[str, str]:
    """Code and reason with which a stream ends that has no further reply."""
    error = await failure(stream.read())
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # the stubs know the blocking client only
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code().name, info.reason


class UnderWay:
    """A request that is being answered."""

    cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


async def test_every_message_is_answered_and_the_stream_ends_with_ok() -> None:
    sent = [b"%d" % i for i in range(1000)]
    async with served() as s:
        stream = s.stream(*sent)
        assert [reply async for reply in stream] == sent
        assert await stream.code() is grpc.StatusCode.OK
        await s.until_idle()


async def test_stream_without_messages_ends_with_ok() -> None:
    async with served() as s:
        stream = s.stream()
        await stream.done_writing()
        assert await stream.read() is aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        await s.until_idle()


async def test_replies_come_in_order_of_completion() -> None:
    streams = KeptStreams()
    async with served(Methods(open=streams)) as s:
        stream = s.stream(b"slow", b"fast")
        kept = await streams.first(2)
        kept.call.reply(Bytes(b"fast"))
        assert await stream.read() == b"fast"
        kept.call.reply(Bytes(b"slow"))
        assert await stream.read() == b"slow"
        assert await stream.read() is aio.EOF
        assert kept.ends == [None]
        await s.until_idle()


async def test_initial_metadata_come_before_the_first_message_is_sent() -> None:
    async with served() as s:
        stream = s.stream()
        async with asyncio.timeout(20.0):
            await stream.initial_metadata()
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK


# ── a server that stops ───────────────────────────────────────────────────────────────────────────────────────────


async def test_idle_stream_ends_when_the_server_stops() -> None:
    streams, stopping = KeptStreams(), Stopping()
    async with served(Methods(open=streams, stopping=stopping)) as s:
        stream = s.stream()
        await streams.first()
        stopping.set()
        assert await ending(stream) == ("UNAVAILABLE", "DRAINING")
        await s.until_idle()


async def test_stream_that_opens_after_the_server_stops_ends() -> None:
    stopping = Stopping()
    stopping.set()
    async with served(Methods(stopping=stopping)) as s:
        assert await ending(s.stream()) == ("UNAVAILABLE", "DRAINING")
        await s.until_idle()


async def test_what_began_is_answered_before_the_stream_ends_and_nothing_begins_afterwards() -> None:
    streams, stopping = KeptStreams(), Stopping()
    async with served(Methods(open=streams, stopping=stopping)) as s:
        stream = s.stream()
        for data in (b"a", b"b"):
            await stream.write(data)
        kept = await streams.first(2)
        stopping.set()
        with suppress(aio.AioRpcError, asyncio.InvalidStateError):
            await stream.write(b"c")
        await s.call(b"x")
        kept.call.reply(Bytes(b"A"))
        assert await stream.read() == b"A"
        kept.call.reply(Bytes(b"B"))
        assert await stream.read() == b"B"
        assert await ending(stream) == ("UNAVAILABLE", "DRAINING")
        assert kept.messages == [b"a", b"b"]
        assert [type(error) for error in kept.ends] == [Draining]
        await s.until_idle()


async def test_stream_whose_requests_have_all_begun_ends_with_ok_although_the_server_stops() -> None:
    streams, stopping = KeptStreams(), Stopping()
    async with served(Methods(open=streams, stopping=stopping)) as s:
        stream = s.stream(b"a", b"b")
        kept = await streams.first(2)
        await until(lambda: kept.call._all_received)
        stopping.set()
        for reply in (b"A", b"B"):
            kept.call.reply(Bytes(reply))
            assert await stream.read() == reply
        assert await stream.read() is aio.EOF
        assert kept.ends == [None]
        await s.until_idle()


async def test_streams_that_end_are_not_told_that_the_server_stops() -> None:
    stopping = Stopping()
    async with served(Methods(stopping=stopping)) as s:
        for _ in range(10):
            assert await all_of(s.stream(b"a")) == [b"a"]
        await s.until_idle()
    assert not stopping._listeners


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_more_messages_are_read_than_may_be_unanswered() -> None:
    streams, limit = KeptStreams(), 4
    async with served(Methods(open=streams, limit=limit)) as s:
        stream = s.stream(*(b"%d" % i for i in range(10)))
        kept = await streams.first(limit)
        for answered in range(10):
            # A whole call of the other method passes meanwhile: nothing more comes.
            await s.call(b"x")
            assert len(kept.messages) == min(answered + limit, 10)
            kept.call.reply(Bytes(kept.messages[answered]))
            assert await stream.read() == b"%d" % answered
            await until(lambda answered=answered: len(kept.messages) == min(answered + 1 + limit, 10))  # type: ignore[misc]
        assert await stream.read() is aio.EOF
        await s.until_idle()


async def test_reader_that_does_not_read_holds_back_its_own_messages() -> None:
    limit, size = 4, 100_000
    streams = KeptStreams()
    async with served(Methods(open=streams, limit=limit)) as s, connected(s.port.number, window=1000) as raw:
        raw.headers(1, STREAM)
        for _ in range(20):
            raw.data(1, message(b"x"))
        kept = await streams.first(limit)
        for _ in range(limit):
            kept.call.reply(Bytes(b"y" * size))
        for _ in range(10):
            await s.call(b"x")
        assert len(kept.messages) <= limit + 1  # a first reply may count as sent once the transport has it
        raw.reset(1)
        await s.until_idle()


async def test_messages_of_streams_are_held_in_the_credit_until_they_are_answered() -> None:
    streams = KeptStreams()
    async with served(Methods(open=streams), limit_bytes=100_000) as s:
        stream = s.stream()
        await stream.write(b"x" * 90_000)
        kept = await streams.first(1)
        assert s.frontend.credit.held_bytes == 90_000
        assert await code(s.begun()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        kept.call.reply(Bytes(b""))
        await stream.read()
        await until(lambda: not s.frontend.credit.held_bytes)
        assert await s.call(b"x") == b"x"
        await stream.done_writing()
        assert await stream.read() is aio.EOF


async def test_message_above_the_limit_ends_the_stream_as_resource_exhausted() -> None:
    async with served(options=[("grpc.max_receive_message_length", 10_000)]) as s:
        for _ in range(5):
            stream = s.stream()
            await stream.write(b"x")
            assert await stream.read() == b"x"
            await stream.write(b"x" * 20_000)
            assert await code(stream.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        await s.until_idle()


async def test_thousand_streams_of_one_connection_are_served() -> None:
    async with served() as s, connected(s.port.number) as raw:
        streams = range(1, 2001, 2)
        for stream in streams:
            raw.headers(stream, STREAM)
        for part in (b"a", b"b"):
            for stream in streams:
                raw.data(stream, message(part))
        for stream in streams:
            raw.data(stream, b"", END_STREAM)
        assert {await raw.status(stream) for stream in streams} == {OK}
        assert {raw.received[stream] for stream in streams} == {message(b"a") + message(b"b")}
        await s.until_idle()


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_caller_who_leaves_cancels_what_is_under_way() -> None:
    streams, request = KeptStreams(), UnderWay()
    async with served(Methods(open=streams)) as s:
        stream = s.stream()
        await stream.write(b"x" * 1000)
        kept = await streams.first(1)
        kept.call.under_way.add(request)
        stream.cancel()
        await s.until_idle()
        assert request.cancelled == 1
        assert [type(end) for end in kept.ends] == [asyncio.CancelledError]
        kept.call.reply(Bytes(b"late"))


async def test_connection_that_breaks_cancels_what_is_under_way() -> None:
    streams, request = KeptStreams(), UnderWay()
    async with served(Methods(open=streams)) as s:
        async with connected(s.port.number) as raw:
            raw.headers(1, STREAM)
            raw.data(1, message(b"x") + message(b"cut off")[:7])
            (await streams.first(1)).call.under_way.add(request)
        await s.until_idle()
        assert request.cancelled == 1


async def test_deadline_ends_the_stream_and_what_is_under_way() -> None:
    streams, request = KeptStreams(), UnderWay()
    async with served(Methods(open=streams)) as s:
        stream = s.stream(b"x", timeout=0.3)
        (await streams.first(1)).call.under_way.add(request)
        assert await code(stream.read()) is grpc.StatusCode.DEADLINE_EXCEEDED
        await s.until_idle()
        assert request.cancelled == 1


async def test_stream_whose_deadline_is_over_when_its_last_reply_is_sent_does_not_end_with_ok(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StreamCall, "time_remaining", lambda _: 0.0)  # the core is late with its own end
    async with served() as s:
        stream = s.stream(b"x", timeout=30.0)
        assert await stream.read() == b"x"
        error = await failure(stream.read())
        assert (error.code(), error.details()) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "the deadline passed before the stream had ended",
        )
        await s.until_idle()


async def test_deadline_zero_leaves_nothing_behind() -> None:
    async with served() as s, connected(s.port.number) as raw:
        for stream in range(1, 100, 2):
            raw.headers(stream, STREAM, grpc_timeout="0n")
            raw.data(stream, message(b"x"), END_STREAM)
        assert {await raw.status(stream) for stream in range(1, 100, 2)} <= {OK, DEADLINE_EXCEEDED}
        await s.until_idle()


async def test_half_close_while_requests_are_under_way_waits_for_their_replies() -> None:
    streams = KeptStreams()
    async with served(Methods(open=streams)) as s:
        stream = s.stream()
        await stream.write(b"x")
        await stream.done_writing()
        kept = await streams.first(1)
        await s.call(b"x")
        assert kept.ends == []
        kept.call.reply(Bytes(b"y"))
        assert await stream.read() == b"y"
        assert await stream.read() is aio.EOF


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Fragile(EchoStream):
    """Refuses some messages, and fails at others."""

    def begin(self, data: bytes) -> None:
        if data == b"refused":
            raise InvalidInput("field", "is wrong")
        if data == b"crash":
            raise ValueError("secret")
        super().begin(data)


class FailsAtItsEnd(EchoStream):
    def ended(self, error: BaseException | None) -> None:
        raise ValueError("secret")


class EndsSilently(Fragile):
    def ended(self, error: BaseException | None) -> None:
        """Hides what ended the stream."""


def does_not_open(call: StreamCall) -> EchoStream:
    raise ValueError("secret")


class FailsLater(EchoStream):
    """Answers by a coroutine, which fails."""

    def begin(self, data: bytes) -> None:
        async def fail() -> Bytes:
            raise ValueError("secret")

        self.call.start(fail())


class WorkThatDoesNotEnd(EchoStream):
    """What is under way cannot be cancelled."""

    def begin(self, data: bytes) -> None:
        class Stuck:
            def cancel(self) -> None:
                raise ValueError("secret")

        self.call.under_way.add(Stuck())
        raise InvalidInput("field", "is wrong")


async def test_message_that_is_refused_ends_the_stream_with_its_status_after_the_replies_before_it() -> None:
    async with served(Methods(open=Fragile)) as s:
        # Nothing is written after it: grpc.aio gives INTERNAL for a stream that ends while its client writes.
        stream = s.stream()
        for sent in (b"a", b"b"):
            await stream.write(sent)
            assert await stream.read() == sent
        await stream.write(b"refused")
        error = await failure(stream.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "field: is wrong")
        await s.until_idle()


@pytest.mark.parametrize(
    ("open_", "sent"),
    [
        (Fragile, b"crash"),
        (FailsAtItsEnd, b"x"),
        (EndsSilently, b"crash"),
        (does_not_open, b"x"),
        (FailsLater, b"x"),
        (WorkThatDoesNotEnd, b"x"),
    ],
)
async def test_exception_of_a_handler_ends_the_stream_as_internal(open_: Callable[..., Any], sent: bytes) -> None:
    async with served(Methods(open=open_)) as s:
        with capture_logs() as logs:
            error = await failure(all_of(s.stream(sent)))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(error)
        assert "unexpected error" in [entry["event"] for entry in logs]
        await s.until_idle()
        assert await s.call(b"x") == b"x"


@pytest.mark.parametrize("open_", [FailsAtItsEnd, does_not_open])
async def test_exception_at_the_end_of_a_stream_whose_caller_left_leaves_nothing_behind(
    open_: Callable[..., Any],
) -> None:
    async with served(Methods(open=open_)) as s:
        for _ in range(10):
            stream = s.stream()
            with suppress(aio.AioRpcError):  # it may have ended
                await stream.write(b"x")
            stream.cancel()
        await s.until_idle()


async def test_messages_after_the_end_are_dropped() -> None:
    streams = list[Any]()

    def open_(call: StreamCall) -> KeptStream:
        class Ends(KeptStream):
            def begin(self, data: bytes) -> None:
                super().begin(data)
                raise InvalidInput("a", "b")

        streams.append(Ends(call))
        return streams[-1]

    async with served(Methods(open=open_)) as s, connected(s.port.number) as raw:
        raw.headers(1, STREAM)
        for _ in range(50):
            raw.data(1, message(b"x"))
        assert await raw.status(1) == 3
        await s.until_idle()
        assert len(streams[0].messages) == 1
        assert len(streams[0].ends) == 1


async def test_streams_together_hold_the_memory_of_requests_and_one_message_each_beyond_it() -> None:
    size, count, each, limit_bytes = 100_000, 6, 5, 250_000
    kept = KeptStreams()
    async with served(Methods(open=kept), limit_bytes=limit_bytes) as s:
        streams = [s.stream() for _ in range(count)]

        async def send(stream: Any) -> list[bytes]:
            for i in range(each):
                await stream.write(bytes([i]) * size)
            await stream.done_writing()
            return [reply[:1] async for reply in stream]

        sent = [asyncio.create_task(send(stream)) for stream in streams]
        credit, most = s.frontend.credit, 0
        for _ in range(count * each):
            await until(lambda: any(stream.messages for stream in kept.streams))
            most = max(most, credit.held_bytes)
            stream = next(stream for stream in kept.streams if stream.messages)
            stream.call.reply(Bytes(stream.messages.pop(0)))
        assert await asyncio.gather(*sent) == [[bytes([i]) for i in range(each)]] * count
        assert most <= limit_bytes + count * size
        await s.until_idle()


async def test_streams_that_come_while_the_memory_is_used_up_are_read_when_there_is_room() -> None:
    kept, streams = KeptCalls(), KeptStreams()
    async with served(Methods(kept, streams), limit_bytes=100_000) as s:
        held = asyncio.ensure_future(s.call(b"y" * 90_000))
        await kept.come()
        sent = [s.stream(b"z" * 20_000) for _ in range(5)]
        await until(lambda: len(streams.streams) == 5)
        for _ in range(20):  # turns of the frontend's thread, which looks after them at each event
            with suppress(aio.AioRpcError):
                await s.call(b"y")
        assert [stream.messages for stream in streams.streams] == [[]] * 5
        kept.calls[0].reply(b"")
        await held
        await until(lambda: all(stream.messages for stream in streams.streams))
        for stream in streams.streams:
            stream.call.reply(Bytes(b""))
        assert await asyncio.gather(*(all_of(stream) for stream in sent)) == [[b""]] * 5
        await s.until_idle()


async def test_stream_that_is_not_read_is_ended_where_others_need_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "WRITE_GRACE_S", 0.05)
    monkeypatch.setattr(backpressure, "LOOK_S", 0.05)
    kept = KeptCalls()
    async with served(Methods(kept), limit_bytes=100_000) as s, connected(s.port.number, window=0) as raw:
        raw.headers(1, STREAM)
        raw.data(1, message(b"x" * 1000))
        await until(lambda: s.frontend.credit.held_bytes)
        held = asyncio.ensure_future(s.call(b"y" * 60_000))
        await kept.come()
        assert await raw.status(1) != OK
        kept.calls[0].reply(b"")
        await held
        await s.until_idle()


async def test_stream_that_is_not_read_goes_on_where_nobody_needs_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "WRITE_GRACE_S", 0.0)
    monkeypatch.setattr(backpressure, "LOOK_S", 0.0)
    async with served() as s, connected(s.port.number, window=0) as raw:
        raw.headers(1, STREAM)
        raw.data(1, message(b"x" * 1000))
        await until(lambda: s.frontend.credit.held_bytes)
        for _ in range(20):
            await s.call(b"y")
        assert 1 not in raw.statuses
        raw.reset(1)
        await s.until_idle()

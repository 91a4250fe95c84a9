"""A unary call gets its own reply, once, whatever its caller does."""

import asyncio
import random
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from structlog.testing import capture_logs

from service.errors import InvalidInput
from service.wire.frontend.calls import UnaryCall
from tests.support.wire.calls import detail, status_in, until
from tests.support.wire.frontend_methods import UNARY, KeptCalls, Methods, code, failure, served
from tests.support.wire.raw_http2 import END_STREAM, connected, message

pytestmark = pytest.mark.asyncio
DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 4, 8, 12


async def test_replies_of_concurrent_calls_in_another_order_reach_their_callers() -> None:
    kept, messages = KeptCalls(), [b"%d" % i for i in range(300)]
    async with served(Methods(kept)) as s, s.port.channel() as another:
        waiting = asyncio.gather(
            *(s.call(each) for each in messages[::2]), *(another.unary_unary(UNARY)(each) for each in messages[1::2])
        )
        calls = [*await kept.come(300)]
        random.Random(0).shuffle(calls)
        for call in calls:
            call.reply(call.message)
        assert await waiting == messages[::2] + messages[1::2]
        await s.until_idle()


async def test_second_reply_is_dropped() -> None:
    def twice(call: UnaryCall) -> None:
        call.reply(b"first")
        call.reply(b"second")
        call.fail(InvalidInput("a", "b"))

    async with served(Methods(twice)) as s:
        assert await s.call(b"") == b"first"
        await s.until_idle()


async def test_error_has_its_status_and_details() -> None:
    async with served(Methods(lambda call: call.fail(InvalidInput("field", "is wrong")))) as s:
        error = await failure(s.call(b"x"))
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "field: is wrong")
        bad = detail(status_in(error), details.BadRequest)
        assert bad is not None
        assert bad.field_violations[0].field == "field"
        await s.until_idle()


# ── the caller leaves ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_cancel_reaches_the_handler_once_and_its_reply_is_dropped() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        call = s.call(b"x" * 100_000)
        (inside,) = await kept.come()
        assert s.frontend.credit.held_bytes == 100_000
        call.cancel()
        await until(lambda: kept.cancelled)
        await s.until_idle()
        inside.reply(b"too late")
        inside.fail(InvalidInput("too", "late"))
        kept.calls.clear()
        another = s.call(b"another")
        (await kept.come())[0].reply(b"answer")
        assert await another == b"answer"
        assert kept.cancelled == [inside]


async def test_deadline_reaches_the_handler_once() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        assert await code(s.call(b"x", timeout=0.05)) is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: kept.cancelled)
        assert [call.time_remaining() for call in kept.cancelled] == [0.0]
        await s.until_idle()
        assert len(kept.cancelled) == 1


async def test_handler_knows_the_time_that_remains() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        waiting = asyncio.gather(s.call(b"none"), s.call(b"some", timeout=60.0))
        remaining = {call.message: call.time_remaining() for call in await kept.come(2)}
        for call in kept.calls:
            call.reply(b"")
        await waiting
    assert remaining[b"none"] is None
    assert 30.0 < (remaining[b"some"] or 0.0) <= 60.0


async def test_answered_call_is_not_cancelled() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        call = s.call(b"x")
        (await kept.come())[0].reply(b"y")
        assert await call == b"y"
        call.cancel()
        await s.until_idle()
        assert kept.cancelled == []


async def test_deadlines_that_are_over_at_once_leave_nothing_behind() -> None:
    async with served() as s, connected(s.port.number) as raw:
        streams = range(1, 100, 2)
        for stream in streams:
            raw.call(stream, UNARY, b"x", grpc_timeout="0n")
        codes = {await raw.status(stream) for stream in streams}
        assert codes <= {0, DEADLINE_EXCEEDED}
        assert await s.call(b"x", timeout=30.0) == b"x"
        await s.until_idle()


async def test_callback_of_a_cancelled_call_that_raises_harms_no_other_call() -> None:
    kept = KeptCalls()

    def refuse_to_end() -> None:
        raise RuntimeError("secret")

    async with served(Methods(kept)) as s:
        call = s.call(b"x")
        (inside,) = await kept.come()
        inside.on_cancel = refuse_to_end
        call.cancel()
        await s.until_idle()
        another = s.call(b"x")
        (await kept.come(2))[1].reply(b"y")
        assert await another == b"y"


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_call_without_a_message_is_unimplemented() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        error = await failure(s.channel.stream_unary(UNARY)(iter(())))
        assert (error.code(), error.details()) == (
            grpc.StatusCode.UNIMPLEMENTED,
            "the call has one request message; none came",
        )
        assert kept.calls == []
        await s.until_idle()


async def test_call_with_a_second_message_is_answered_by_the_first() -> None:
    async with served() as s, connected(s.port.number) as raw:
        raw.headers(1, UNARY)
        raw.data(1, message(b"first") + message(b"second"), END_STREAM)
        assert await raw.status(1) == 0
        assert raw.received[1] == message(b"first")
        await s.until_idle()


async def test_message_above_the_limit_is_always_resource_exhausted() -> None:
    kept, limit = KeptCalls(), 10_000
    async with served(Methods(kept), options=[("grpc.max_receive_message_length", limit)]) as s:
        codes = await asyncio.gather(*(code(s.call(b"x" * (limit + 1 + i * 1000))) for i in range(100)))
        assert {*codes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert kept.calls == []
        await s.until_idle()


async def test_message_at_the_limit_is_taken() -> None:
    async with served(options=[("grpc.max_receive_message_length", 10_000)]) as s:
        assert len(await s.call(b"x" * 10_000)) == 10_000


async def test_declared_length_above_the_limit_is_refused_before_its_bytes_come() -> None:
    async with served(options=[("grpc.max_receive_message_length", 10_000)]) as s, connected(s.port.number) as raw:
        raw.headers(1, UNARY)
        raw.data(1, message(b"x" * 20_000)[:100])
        assert await raw.status(1) == RESOURCE_EXHAUSTED
        await s.until_idle()


async def test_half_a_message_is_never_handled() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        async with connected(s.port.number) as raw:
            half = message(b"x" * 1000)[:500]
            raw.headers(1, UNARY)
            raw.data(1, half, END_STREAM)
            assert await raw.status(1) != 0
            raw.headers(3, UNARY)
            raw.data(3, half)
            raw.reset(3)
            raw.headers(5, UNARY)
            raw.data(5, half)
            await until(lambda: s.frontend.credit.reading == 1)
        await s.until_idle()  # the connection broke
        assert kept.calls == []


# ── faults of a handler ───────────────────────────────────────────────────────────────────────────────────────────


async def test_exception_of_a_handler_is_internal_and_the_others_of_the_burst_are_answered() -> None:
    def fragile(call: UnaryCall) -> None:
        if call.message.startswith(b"bad"):
            raise ValueError("secret in /a/path")
        call.reply(call.message)

    async with served(Methods(fragile)) as s:
        with capture_logs() as logs:
            results: list[Any] = await asyncio.gather(
                *(s.call(b"bad" if i % 3 == 0 else b"%d" % i) for i in range(60)), return_exceptions=True
            )
        assert [result for i, result in enumerate(results) if i % 3] == [b"%d" % i for i in range(60) if i % 3]
        errors = results[::3]
        assert {error.code() for error in errors} == {grpc.StatusCode.INTERNAL}
        assert not any("secret" in str(error) for error in errors)
        assert len({entry["reference"] for entry in logs if entry["event"] == "unexpected error"}) == 20
        await s.until_idle()


async def test_exception_after_the_reply_changes_nothing_for_the_caller() -> None:
    def fragile(call: UnaryCall) -> None:
        call.reply(b"answer")
        raise ValueError("later")

    async with served(Methods(fragile)) as s:
        assert await s.call(b"x") == b"answer"
        await s.until_idle()

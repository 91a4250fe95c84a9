"""Memory is bounded before a message is read, callers who send nothing block no others, and a stop always ends."""

import asyncio
import threading
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from structlog.testing import capture_logs

from service.errors import QueueFull, ZooError
from service.wire.frontend import frontend as module
from service.wire.frontend.calls import AnyCall, UnaryCall
from service.wire.frontend.credit import MAX_READING
from service.wire.frontend.frontend import READ_GRACE_S
from tests.support.wire.calls import detail, status_in, until
from tests.support.wire.frontend_methods import (
    STREAM,
    UNARY,
    Bytes,
    KeptCalls,
    KeptStreams,
    Methods,
    Served,
    code,
    echo,
    failure,
    served,
)
from tests.support.wire.raw_http2 import (
    END_STREAM,
    PING,
    SETTINGS,
    RawConnection,
    connected,
    frame,
    message,
)

pytestmark = pytest.mark.asyncio
OK, RESOURCE_EXHAUSTED, UNAVAILABLE = 0, 8, 14
ROOM = 1 << 30
"""Bytes, more than any test holds: what is limited is the number of reads."""


def full_gate(model: str, version: str) -> ZooError | None:
    return QueueFull(model, 1, 1, 0.25) if model == "full" else None


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# ── refusal by metadata ───────────────────────────────────────────────────────────────────────────────────────────


async def test_call_for_a_full_model_is_refused_before_its_message_is_sent() -> None:
    refused: list[tuple[str, ZooError, AnyCall]] = []
    async with served(gate=full_gate, on_refused=lambda *about: refused.append(about)) as s:
        error = await failure(s.begun(metadata=(("zoo-model", "full"),)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        retry = detail(status_in(error), details.RetryInfo)
        assert retry is not None
        assert retry.retry_delay.ToMilliseconds() == 250
        assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "250"
        await until(lambda: refused)  # the caller may be told first
        assert [(method, type(error)) for method, error, _ in refused] == [(UNARY, QueueFull)]
        assert await s.call(b"x", metadata=(("zoo-model", "free"),)) == b"x"
        await s.until_idle()


async def test_gate_gets_model_and_version_and_only_where_metadata_name_a_model() -> None:
    asked: list[tuple[str, str]] = []
    async with served(gate=lambda *about: asked.append(about)) as s:
        await s.call(b"x")
        await s.call(b"x", metadata=(("zoo-version", "2"),))
        await s.call(b"x", metadata=(("zoo-model", "m"),))
        await s.call(b"x", metadata=(("zoo-model", "m"), ("zoo-version", "2")))
    assert asked == [("m", ""), ("m", "2")]


async def test_gate_that_raises_leaves_the_decision_to_the_handler() -> None:
    def broken(model: str, version: str) -> None:
        raise KeyError(model)

    async with served(gate=broken) as s:
        assert await s.call(b"x", metadata=(("zoo-model", "m"),)) == b"x"


async def test_exception_of_the_refusal_callback_does_not_end_the_thread() -> None:
    def broken(method: str, error: ZooError, call: AnyCall) -> None:
        raise RuntimeError

    async with served(gate=full_gate, on_refused=broken) as s:
        with capture_logs() as logs:
            refusal = await code(s.call(b"x", metadata=(("zoo-model", "full"),)))
            await until(lambda: logs)  # its error comes first
        assert refusal is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [entry["event"] for entry in logs] == ["an event of a call failed"]
        assert await s.call(b"x") == b"x"
        await s.until_idle()


# ── credit ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_call_beyond_the_memory_of_unanswered_ones_is_refused_unread_until_one_is_answered() -> None:
    kept = KeptCalls()
    async with served(Methods(kept), limit_bytes=100_000) as s:
        first = s.call(b"x" * 60_000)
        await kept.come()
        error = await failure(s.begun())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        retry = detail(status_in(error), details.RetryInfo)
        assert retry is not None
        assert retry.retry_delay.ToMilliseconds() == 500
        assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "500"
        kept.calls[0].reply(b"1")
        assert await first == b"1"
        await s.until_idle()
        second = s.call(b"x" * 60_000)
        (await kept.come(2))[1].reply(b"2")
        assert await second == b"2"


async def test_request_larger_than_the_limit_is_taken_where_nothing_is_held() -> None:
    async with served(limit_bytes=10_000) as s:
        for _ in range(3):
            assert len(await s.call(b"x" * 1_000_000)) == 1_000_000
            await s.until_idle()


async def test_one_large_message_does_not_have_the_small_ones_after_it_refused() -> None:
    limit = 2_000_000
    kept = KeptCalls()
    async with served(Methods(kept), limit_bytes=limit) as s:
        large = s.call(b"x" * (limit - 1000))
        (await kept.come())[0].reply(b"")
        await large
        await s.until_idle()
        small = [s.call(b"%d" % i) for i in range(100)]
        for call in (await kept.come(101))[1:]:
            call.reply(b"ok")
        assert {*await asyncio.gather(*small)} == {b"ok"}


async def test_only_so_many_messages_are_read_at_once_and_the_others_are_read_after_them() -> None:
    streams = range(1, 2 * (MAX_READING + 50), 2)
    async with served(limit_bytes=ROOM) as s, connected(s.port.number) as raw:
        for stream in streams:
            raw.headers(stream, UNARY)
        await until(lambda: len(s.frontend._parked) == 50)
        assert s.frontend.credit.reading == MAX_READING
        for stream in reversed(streams):
            raw.data(stream, message(b"%d" % stream), END_STREAM)
        assert {await raw.status(stream) for stream in streams} == {OK}
        assert all(raw.received[stream] == message(b"%d" % stream) for stream in streams)
        await s.until_idle()


async def test_messages_of_unknown_size_are_read_as_far_as_the_credit_goes() -> None:
    limit_mib = 4
    async with served(limit_bytes=limit_mib << 20) as s, connected(s.port.number) as raw:
        for stream in range(1, 21, 2):
            raw.headers(stream, UNARY)
        await until(lambda: len(s.frontend._parked) + s.frontend.credit.reading == 10)
        assert s.frontend.credit.reading == limit_mib  # each is charged with 1 MiB until sizes are known
        for stream in range(1, 21, 2):
            raw.data(stream, message(b"x"), END_STREAM)
        assert {await raw.status(stream) for stream in range(1, 21, 2)} == {OK}
        await s.until_idle()


async def test_calls_beyond_those_that_may_wait_unread_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARKED", 10)
    async with served(limit_bytes=ROOM) as s, connected(s.port.number) as raw:
        taken = MAX_READING + 10
        for i in range(taken + 5):
            raw.headers(2 * i + 1, UNARY)
        refused = [2 * i + 1 for i in range(taken, taken + 5)]
        assert {await raw.status(stream) for stream in refused} == {RESOURCE_EXHAUSTED}
        assert not raw.statuses.keys() - {*refused}
        for i in range(taken):
            raw.data(2 * i + 1, message(b"x"), END_STREAM)
        assert {await raw.status(2 * i + 1) for i in range(taken)} == {OK}
        await s.until_idle()


async def test_calls_that_waited_unread_are_refused_and_counted_where_the_memory_is_used_up_meanwhile() -> None:
    kept, refused = KeptCalls(), list[str]()
    hooks: dict[str, Any] = {"on_refused": lambda method, *_: refused.append(method)}
    async with served(Methods(kept), limit_bytes=1 << 20, **hooks) as s:
        large = s.begun()
        await until(lambda: s.frontend.credit.reading == 1)
        others = [s.begun()]
        await until(lambda: s.frontend.credit.reading == 2)
        others += [s.begun(), s.begun()]
        await until(lambda: len(s.frontend._parked) == 2)
        await large.write(b"x" * (1 << 20))
        await others[0].write(b"it was being read")
        assert {await code(call) for call in others[1:]} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        await until(lambda: refused == [UNARY] * 2)
        for call in await kept.come(2):
            call.reply(b"ok")
        assert [await large, await others[0]] == [b"ok"] * 2
        await s.until_idle()


# ── callers who do not send ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sent", [b"", message(b"x" * 1000)[:500]], ids=["headers only", "half a message"])
async def test_callers_who_do_not_send_their_message_give_way_to_others_after_a_while(sent: bytes) -> None:
    clock, refused = Clock(), list[str]()
    hooks: dict[str, Any] = {"clock": clock, "on_refused": lambda method, *_: refused.append(method)}
    async with served(limit_bytes=ROOM, **hooks) as s, connected(s.port.number) as raw:
        silent = range(1, 2 * MAX_READING, 2)
        for stream in silent:
            raw.headers(stream, UNARY)
            raw.data(stream, sent)
        await until(lambda: s.frontend.credit.reading == MAX_READING)
        waiting = asyncio.gather(*(s.call(b"%d" % i) for i in range(20)))
        await until(lambda: len(s.frontend._parked) == 20)
        clock.now = READ_GRACE_S
        assert await waiting == [b"%d" % i for i in range(20)]
        assert {await raw.status(stream) for stream in silent} == {UNAVAILABLE}
        await s.until_idle()
        assert len(refused) == MAX_READING


async def test_caller_who_does_not_send_is_left_alone_while_nobody_waits() -> None:
    clock = Clock()
    async with served(clock=clock) as s, connected(s.port.number) as raw:
        raw.headers(1, UNARY)
        await until(lambda: s.frontend.credit.reading == 1)
        clock.now = 1000 * READ_GRACE_S
        assert await s.call(b"x") == b"x"
        raw.data(1, message(b"late"), END_STREAM)
        assert await raw.status(1) == OK
        assert raw.received[1] == message(b"late")
        await s.until_idle()


async def test_callers_who_leave_while_they_wait_unread_are_never_handled() -> None:
    kept = KeptCalls()
    async with served(Methods(kept), limit_bytes=ROOM) as s, connected(s.port.number) as raw:
        for i in range(MAX_READING + 20):
            raw.headers(2 * i + 1, UNARY)
        await until(lambda: len(s.frontend._parked) == 20)
        for i in range(MAX_READING + 20):
            raw.reset(2 * i + 1)
        await s.until_idle()
        assert kept.calls == []


async def test_callers_who_left_do_not_count_among_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARKED", 10)
    async with served(limit_bytes=ROOM) as s, connected(s.port.number) as raw:
        for i in range(MAX_READING + 10):
            raw.headers(2 * i + 1, UNARY)
        await until(lambda: len(s.frontend._parked) == 10)
        for i in range(MAX_READING, MAX_READING + 10):
            raw.reset(2 * i + 1)
        await until(lambda: not s.frontend._parked)
        waiting = asyncio.gather(*(s.call(b"x") for _ in range(10)))
        await until(lambda: len(s.frontend._parked) == 10)
        for i in range(MAX_READING):
            raw.data(2 * i + 1, message(b"x"), END_STREAM)
        assert await waiting == [b"x"] * 10
        await s.until_idle()


async def test_thousand_calls_of_one_connection_are_answered() -> None:
    kept = KeptCalls()
    async with served(Methods(kept), limit_bytes=ROOM) as s, connected(s.port.number) as raw:
        streams = range(1, 2001, 2)
        for stream in streams:
            raw.call(stream, UNARY, b"%d" % stream)
        for call in await kept.come(1000):
            call.reply(call.message)
        assert {await raw.status(stream) for stream in streams} == {OK}
        assert all(raw.received[stream] == message(b"%d" % stream) for stream in streams)
        await s.until_idle()


@pytest.mark.parametrize("path", [UNARY, STREAM])
async def test_garbage_on_a_connection_breaks_that_connection_only(path: str) -> None:
    async with served() as s:
        whole = message(b"x")
        for garbage in (frame(SETTINGS, 0, 0, b"short"), frame(PING, 0, 0, b"short")):
            async with connected(s.port.number) as raw:
                raw.headers(1, path)
                raw.data(1, whole)
                raw.send(garbage)
                await raw.until_ended()
        async with connected(s.port.number) as raw:
            for stream, flag in ((1, 1), (3, 2), (5, 255)):  # compressed without an encoding; flags that do not exist
                raw.headers(stream, path)
                raw.data(stream, bytes([flag]) + whole[1:], END_STREAM)
                await raw.status(stream)
                assert whole not in raw.received.values()
        await s.until_idle()
        assert await s.call(b"y") == b"y"


# ── stop ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _every_kind_of_call(s: Served, raw: RawConnection, kept: KeptCalls, streams: KeptStreams) -> list[Any]:
    """Unanswered, streaming, unread and parked calls."""
    stream = s.stream()
    await stream.write(b"1")
    await streams.first(1)
    unanswered = [s.call(b"x") for _ in range(10)]
    await kept.come(10)
    for i in range(MAX_READING + 20):
        raw.headers(2 * i + 1, UNARY)
    await until(lambda: len(s.frontend._parked) == 20)
    return [stream.read(), *unanswered]


async def test_stop_ends_unread_parked_unanswered_and_streaming_calls() -> None:
    kept, streams = KeptCalls(), KeptStreams()
    async with served(Methods(kept, streams), limit_bytes=ROOM) as s:
        raw_connection = connected(s.port.number)
        raw = await raw_connection.__aenter__()
        waiting = [asyncio.ensure_future(call) for call in await _every_kind_of_call(s, raw, kept, streams)]
        frontend = s.frontend
    assert not frontend.running
    assert frontend.credit.held_bytes == frontend.credit.reading == 0
    # replies that come after the stop are dropped
    for call in kept.calls:
        call.reply(b"late")
    streams.streams[0].call.reply(Bytes(b"late"))
    await asyncio.wait(waiting)
    await raw_connection.__aexit__(None, None, None)


async def test_calls_in_flight_are_answered_within_the_grace_of_a_stop() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        waiting = asyncio.gather(*(s.call(b"%d" % i) for i in range(20)))
        await kept.come(20)
        s.frontend.close()
        stopped = asyncio.ensure_future(s.port.server.stop(30.0))
        await asyncio.sleep(0)
        for call in kept.calls:
            call.reply(call.message)
        assert await waiting == [b"%d" % i for i in range(20)]
        await stopped
        await asyncio.to_thread(s.frontend.stop)
        assert not s.frontend.running


async def test_stop_under_a_flood_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as s:
        done = asyncio.Event()

        async def flood() -> None:
            while not done.is_set():
                await asyncio.gather(*(s.call(b"x" * 1000) for _ in range(50)), return_exceptions=True)

        floods = [asyncio.create_task(flood()) for _ in range(4)]
        await s.call(b"x")
        s.frontend.close()
        await s.port.server.stop(None)
        await asyncio.to_thread(s.frontend.stop)
        assert not s.frontend.running
        done.set()
        await asyncio.gather(*floods)


async def test_handlers_run_on_the_event_loop() -> None:
    threads = set[threading.Thread]()

    def note(call: UnaryCall) -> None:
        threads.add(threading.current_thread())
        echo(call)

    async with served(Methods(note)) as s:
        await asyncio.gather(*(s.call(b"x") for _ in range(50)))
    assert threads == {threading.main_thread()}

"""Requests of a stream are answered side by side, bounded, and leave nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest
from grpc import aio

from service.errors import DeadlineExceeded, Draining
from service.wire.stopping import Stopping
from service.wire.streams import Stream

pytestmark = pytest.mark.asyncio

Answer = Callable[[int], Awaitable[int]]


class Caller:
    """The other end of a stream: gives requests, takes replies. A request that is an exception breaks the connection with it."""

    def __init__(self, requests: Iterable[int | Exception], may_read: int = 1_000_000) -> None:
        self.requests = iter(requests)
        self.taken = 0
        self.replies: list[int] = []
        self.reads = asyncio.Semaphore(may_read)
        self.remaining: float | None = None

    def time_remaining(self) -> float | None:
        return self.remaining

    async def read(self) -> object:
        request = next(self.requests, aio.EOF)
        if isinstance(request, Exception):
            raise request
        self.taken += request is not aio.EOF
        return request

    async def write(self, reply: int) -> None:
        await self.reads.acquire()
        self.replies.append(reply)


async def serve(caller: Caller, answer: Answer, limit: int, stopping: Stopping | None = None) -> None:
    """Each answer comes from a coroutine of its own."""

    def begin(request: int, stream: Stream[int, int]) -> None:
        stream.start(answer(request))

    await Stream(caller, begin, limit, stopping or Stopping()).run()


async def twice(number: int) -> int:
    return 2 * number


async def turns(count: int = 50) -> None:
    """Every task runs as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_every_request_has_one_reply() -> None:
    caller = Caller(range(20))
    await serve(caller, twice, 3)
    assert sorted(caller.replies) == [2 * i for i in range(20)]


async def test_a_request_may_be_answered_at_once() -> None:
    caller = Caller(range(20))
    await Stream[int, int](caller, lambda request, stream: stream.reply(2 * request), 3, Stopping()).run()
    assert caller.replies == [2 * i for i in range(20)]


async def test_a_stream_without_requests_ends() -> None:
    caller = Caller([])
    await serve(caller, twice, 3)
    assert caller.replies == []


async def test_stream_past_its_deadline_fails_even_if_all_replies_were_sent() -> None:
    caller = Caller(range(3))
    caller.remaining = 0.0
    with pytest.raises(DeadlineExceeded):
        await serve(caller, twice, 3)
    assert sorted(caller.replies) == [0, 2, 4]


async def test_slow_reader_stops_the_server_from_reading_more() -> None:
    caller = Caller(range(100), may_read=1)
    serving = asyncio.create_task(serve(caller, twice, 4))
    await turns()
    assert caller.replies == [0]
    assert caller.taken <= 5 + 1  # four unsent, one sent, the one that waits for a place
    serving.cancel()
    await asyncio.wait([serving])


async def test_a_request_that_raises_ends_the_stream_with_its_error() -> None:
    async def fail(number: int) -> int:
        if number == 1:
            raise LookupError("two")
        return number

    with pytest.raises(LookupError, match="two"):
        await serve(Caller(range(3)), fail, 8)


async def test_request_that_cannot_begin_ends_the_stream_with_its_error() -> None:
    def begin(request: int, stream: Stream[int, int]) -> None:
        raise LookupError("two")

    with pytest.raises(LookupError, match="two"):
        await Stream(Caller(range(3)), begin, 8, Stopping()).run()


async def test_a_sender_that_breaks_ends_the_stream_with_its_error() -> None:
    with pytest.raises(ConnectionResetError):
        await serve(Caller([1, ConnectionResetError()]), twice, 8)


async def test_cancelled_stream_cancels_requests_under_way() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def never(number: int) -> int:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 1

    before = asyncio.all_tasks()
    serving = asyncio.create_task(serve(Caller(range(2)), never, 8))
    await began.wait()
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert ended.is_set()
    assert asyncio.all_tasks() == before


# ── a server that stops ───────────────────────────────────────────────────────────────────────────────────────────


class Answers:
    """Answers each request when a test allows it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.may_answer = asyncio.Event()

    async def answer(self, number: int) -> int:
        self.began.append(number)
        await self.may_answer.wait()
        return 2 * number


async def test_idle_stream_ends_when_the_server_stops() -> None:
    class Idle(Caller):
        async def read(self) -> object:
            return await asyncio.Event().wait()

    stopping, before = Stopping(), asyncio.all_tasks()
    serving = asyncio.create_task(serve(Idle([]), twice, 4, stopping))
    await turns()
    assert not serving.done()
    stopping.set()
    with pytest.raises(Draining):
        await serving
    assert asyncio.all_tasks() == before


async def test_stream_that_opens_after_the_server_stops_takes_no_request() -> None:
    stopping, caller, answers = Stopping(), Caller(range(5)), Answers()
    stopping.set()
    with pytest.raises(Draining):
        await serve(caller, answers.answer, 4, stopping)
    assert answers.began == []


async def test_what_began_is_answered_before_the_stream_ends_and_nothing_begins_afterwards() -> None:
    stopping, caller, answers = Stopping(), Caller(range(100)), Answers()
    serving = asyncio.create_task(serve(caller, answers.answer, 4, stopping))
    await turns()
    stopping.set()
    await turns()
    assert answers.began == [0, 1, 2, 3]
    assert not serving.done()
    answers.may_answer.set()
    with pytest.raises(Draining):
        await serving
    assert caller.replies == [0, 2, 4, 6]
    assert answers.began == [0, 1, 2, 3]


async def test_stream_whose_requests_have_all_begun_ends_well_although_the_server_stops() -> None:
    stopping, caller, answers = Stopping(), Caller(range(3)), Answers()
    serving = asyncio.create_task(serve(caller, answers.answer, 4, stopping))
    await turns()
    stopping.set()
    answers.may_answer.set()
    await serving
    assert caller.replies == [0, 2, 4]

"""Requests of a stream are answered side by side, bounded, and leave nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from service.wire.streams import as_completed

pytestmark = pytest.mark.asyncio


async def numbers(count: int, taken: list[int] | None = None) -> AsyncIterator[int]:
    for i in range(count):
        if taken is not None:
            taken.append(i)
        yield i


async def twice(number: int) -> int:
    return 2 * number


async def test_every_request_has_one_reply() -> None:
    assert sorted([reply async for reply in as_completed(numbers(20), twice, 3)]) == [2 * i for i in range(20)]


async def test_a_stream_without_requests_ends() -> None:
    assert [reply async for reply in as_completed(numbers(0), twice, 3)] == []


async def test_a_slow_reader_keeps_the_server_from_taking_more() -> None:
    taken: list[int] = []
    async with aclosing(as_completed(numbers(100, taken), twice, 4)) as replies:
        await anext(replies)
        for _ in range(50):  # every task runs as far as it can
            await asyncio.sleep(0)
        assert len(taken) <= 5 + 1  # four unsent, the one just read, the one that waits for a slot


async def test_a_request_that_raises_ends_the_stream_with_its_error() -> None:
    async def fail(number: int) -> int:
        if number == 1:
            raise LookupError("two")
        return number

    with pytest.raises(LookupError, match="two"):
        _ = [reply async for reply in as_completed(numbers(3), fail, 8)]


async def test_a_sender_that_breaks_ends_the_stream_with_its_error() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        _ = [reply async for reply in as_completed(broken(), twice, 8)]


async def test_closing_cancels_what_is_in_flight() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def never(number: int) -> int:
        if number == 0:
            return 0
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 1

    before = asyncio.all_tasks()
    async with aclosing(as_completed(numbers(2), never, 8)) as replies:
        await anext(replies)
        await began.wait()
    assert ended.is_set()
    assert asyncio.all_tasks() == before

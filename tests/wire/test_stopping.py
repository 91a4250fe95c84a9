"""A server that stops ends its long calls, so that their callers continue at its successor, and leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from service.errors import Draining
from service.wire.stopping import Stopping

pytestmark = pytest.mark.asyncio


class Work:
    """Waits until a test ends it; keeps whether it began, was cancelled, and has cleaned up."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.cancelled = self.clean = False

    async def run(self) -> int:
        try:
            self.began.set()
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            await asyncio.sleep(0)  # cleaning up takes a turn of the loop
            self.clean = True
            raise
        return 7


class Numbers:
    """Counts how many were taken."""

    def __init__(self, *numbers: int | None) -> None:
        self.taken = 0
        self._numbers: Iterator[int | None] = iter(numbers)

    async def each(self) -> AsyncIterator[int | None]:
        for number in self._numbers:
            self.taken += 1
            yield number


async def fail() -> int:
    raise LookupError("of the work")


async def at_once() -> int:
    return 7


async def test_work_that_ends_before_the_server_stops_has_its_result() -> None:
    before = asyncio.all_tasks()
    assert await Stopping().first(at_once()) == 7
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_work_that_fails_raises_its_own_error() -> None:
    with pytest.raises(LookupError, match="of the work"):
        await Stopping().first(fail())


async def test_server_that_stops_cancels_the_work_and_waits_until_it_has_cleaned_up() -> None:
    before = asyncio.all_tasks()
    stopping, work = Stopping(), Work()
    call = asyncio.create_task(stopping.first(work.run()))
    await work.began.wait()
    stopping.set()
    with pytest.raises(Draining):
        await call
    assert work.cancelled
    assert work.clean
    assert asyncio.all_tasks() == before


async def test_work_that_waits_on_a_server_that_has_stopped_ends_at_once() -> None:
    stopping, work = Stopping(), Work()
    stopping.set()
    with pytest.raises(Draining):
        await stopping.first(work.run())
    assert work.clean


async def test_result_that_is_there_when_the_server_stops_is_not_lost() -> None:
    stopping = Stopping()
    stopping.set()
    assert await stopping.first(at_once()) == 7


async def test_caller_who_leaves_cancels_the_work() -> None:
    before = asyncio.all_tasks()
    work = Work()
    call = asyncio.create_task(Stopping().first(work.run()))
    await work.began.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert work.clean
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_stop_ends_all_long_calls() -> None:
    stopping, works = Stopping(), [Work() for _ in range(3)]
    calls = [asyncio.create_task(stopping.first(work.run())) for work in works]
    for work in works:
        await work.began.wait()
    stopping.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Draining] * 3


# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_items_come_in_order_and_an_item_may_be_none() -> None:
    assert [item async for item in Stopping().each(Numbers(3, None, 0, 1).each())] == [3, None, 0, 1]


async def test_item_is_taken_only_when_one_is_asked_for() -> None:
    numbers = Numbers(1, 2, 3)
    items = Stopping().each(numbers.each())
    assert numbers.taken == 0
    assert [await anext(items), numbers.taken] == [1, 1]
    assert [await anext(items), numbers.taken] == [2, 2]
    await items.aclose()


async def test_items_end_with_draining_when_the_server_stops() -> None:
    stopping, work, got = Stopping(), Work(), list[int]()

    async def source() -> AsyncIterator[int]:
        yield 1
        yield await work.run()

    async def read() -> None:
        async for item in stopping.each(source()):
            got.append(item)

    call = asyncio.create_task(read())
    await work.began.wait()
    stopping.set()
    with pytest.raises(Draining):
        await call
    assert got == [1]
    assert work.clean


async def test_source_that_fails_raises_its_own_error_after_its_items() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        yield await fail()

    items = Stopping().each(source())
    assert await anext(items) == 1
    with pytest.raises(LookupError, match="of the work"):
        await anext(items)

"""Permits are given by effective deadline, then by age, and none is ever lost, whichever waiter is cancelled at any moment."""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from service.engine.admission import PendingRows, PrioritySemaphore

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def permit(semaphore: PrioritySemaphore, key: float) -> AsyncIterator[None]:
    await semaphore.acquire(key)
    try:
        yield
    finally:
        semaphore.release()


async def turn() -> None:
    """Lets every callback that is due run."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_semaphore_serves_waiters_by_effective_deadline_then_age() -> None:
    semaphore, leave, entered = PrioritySemaphore(2), asyncio.Semaphore(0), list[str]()

    async def hold(name: str, key: float) -> None:
        async with permit(semaphore, key):
            entered.append(name)
            await leave.acquire()

    calls = []
    for name, key in (("a", 9.0), ("b", 9.0), ("late", 7.0), ("later", 7.0), ("urgent", 1.0), ("never", math.inf)):
        calls.append(asyncio.create_task(hold(name, key)))
        await turn()
    assert entered == ["a", "b"]
    for _ in calls:
        leave.release()
        await turn()
    assert entered == ["a", "b", "urgent", "late", "later", "never"]
    assert semaphore.free == 2
    await asyncio.gather(*calls)


async def test_permit_of_a_waiter_cancelled_at_its_turn_goes_to_the_next() -> None:
    semaphore, entered = PrioritySemaphore(1), list[str]()

    async def hold(name: str) -> None:
        async with permit(semaphore, 0.0):
            entered.append(name)

    async with permit(semaphore, 0.0):
        gone, next_one = asyncio.create_task(hold("gone")), asyncio.create_task(hold("next"))
        await turn()
    gone.cancel()  # the place is in its hand, and it has not run since
    with suppress(asyncio.CancelledError):
        await gone
    await next_one
    assert (entered, semaphore.free) == (["next"], 1)


async def test_resized_semaphore_counts_held_permits() -> None:
    semaphore, leave, entered = PrioritySemaphore(2), asyncio.Semaphore(0), list[str]()

    async def hold(name: str) -> None:
        async with permit(semaphore, 0.0):
            entered.append(name)
            await leave.acquire()

    calls = [asyncio.create_task(hold(name)) for name in "abcde"]
    await turn()
    semaphore.resize(1)
    leave.release()
    await turn()
    assert entered == ["a", "b"], "one of two left, and the other has the only place"
    leave.release()
    await turn()
    assert entered == ["a", "b", "c"]
    semaphore.resize(3)
    await turn()
    assert entered == ["a", "b", "c", "d", "e"], "waiters are let in although no permit was released"
    for _ in range(3):
        leave.release()
    await asyncio.gather(*calls)
    assert semaphore.free == 3


async def test_semaphore_loses_no_permit_in_any_order_of_arrivals_and_cancellations() -> None:
    rng = random.Random(4)
    semaphore, inside, most = PrioritySemaphore(3), 0, 0

    async def hold(key: float, steps: int) -> None:
        nonlocal inside, most
        async with permit(semaphore, key):
            inside += 1
            most = max(most, inside)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    calls = []
    for _ in range(2000):
        calls.append(asyncio.create_task(hold(rng.random(), rng.randrange(4))))
        if rng.random() < 0.4:
            rng.choice(calls).cancel()
        if rng.random() < 0.1:
            semaphore.resize(rng.randrange(1, 4))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    semaphore.resize(2)
    await asyncio.gather(*calls, return_exceptions=True)
    assert (inside, most, semaphore.free, semaphore._waiters) == (0, 3, 2, [])


async def test_pending_rows_go_behind_earlier_effective_deadlines_only() -> None:
    pending = PendingRows()
    pending.add(5.0, 3)
    pending.add(1.0, 2)
    pending.add(5.0, 1)
    assert [pending.count_before(key) for key in (0.0, 1.0, 4.0, 5.0, math.inf)] == [0, 2, 2, 6, 6]
    pending.remove(5.0, 2)
    pending.remove(1.0, 2)
    assert [pending.count_before(key) for key in (1.0, 5.0)] == [0, 2]
    pending.remove(5.0, 2)
    assert pending.count_before(math.inf) == 0

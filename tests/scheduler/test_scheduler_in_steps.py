"""The scheduler on lanes that the test itself moves: no threads, so that every moment and every batch is known."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable, Sequence

import pytest

from service.errors import DeadlineExceeded, OutOfMemory, TooLate, ZooError
from service.scheduler.cost import KnownCost, Law
from service.scheduler.policy import BORROW_S, BatchLimits
from service.scheduler.queued_row import Arrival
from service.scheduler.scheduler import DeviceScheduler
from service.types import Item, Row
from tests.support.scheduler.fakes import (
    PATIENCE_S,
    Clock,
    double,
    item,
    until,
    value_of,
)

pytestmark = pytest.mark.asyncio

NEVER = float("inf")


def on_a_lane(scheduler: DeviceScheduler) -> None:
    """Runs the batch that is next. There must be one, or this waits for ever."""
    job = scheduler.next_job()
    assert job is not None
    job()


def nobody(_: Sequence[Row | ZooError]) -> None:
    """For rows whose answers do not matter."""


# ── shares ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_lanes_share_their_time_between_networks_by_weight() -> None:
    clock = Clock()
    scheduler = DeviceScheduler(asyncio.get_running_loop(), clock, lanes=2)
    heavy = scheduler.add("heavy", 1, BatchLimits(4, 10**6, weight=3.0), double)
    light = scheduler.add("light", 1, BatchLimits(4, 10**6), double)
    seconds, given = {heavy: 0.05, light: 0.02}, {heavy: 0.0, light: 0.0}
    for network in seconds:
        network.submit([item(0.0)] * 8000, NEVER, on_done=nobody)
    lanes: list[tuple[float, int, Callable[[], None]]] = []

    def begin(lane: int) -> None:
        before = heavy.depth
        job = scheduler.next_job()
        assert job is not None
        network = heavy if heavy.depth < before else light
        given[network] += seconds[network]
        heapq.heappush(lanes, (clock.now + seconds[network], lane, job))

    begin(0)
    begin(1)
    while clock.now < 20.0:
        clock.now, lane, job = heapq.heappop(lanes)
        job()
        begin(lane)
    assert sum(given.values()) == pytest.approx(40.0, abs=0.2), "no lane is idle"
    assert given[heavy] / 3.0 == pytest.approx(given[light], abs=BORROW_S + 0.1)
    scheduler.stop()


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_memory_that_comes_back_is_used_again() -> None:
    """Another process held half of it for a while."""
    scheduler = DeviceScheduler(asyncio.get_running_loop(), Clock())
    sizes: list[int] = []

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        sizes.append(len(items))
        if len(sizes) == 1:
            raise OutOfMemory
        return double(items)

    network = scheduler.add("m", 1, BatchLimits(8, 10**6), run)
    submission = network.submit([item(i) for i in range(1000)], NEVER)
    while network.depth:
        on_a_lane(scheduler)
    assert sizes[:4] == [8, 4, 4, 4]
    assert sizes[3:-1] == sorted(sizes[3:-1]), "step by step"
    assert sizes[-2] == 8
    assert [value_of(row) for row in await submission.result()] == [2 * i for i in range(1000)]


async def test_row_without_time_left_at_a_retry_fails_and_does_not_run() -> None:
    clock, tried = Clock(), list[list[float]]()

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        tried.append([float(i.tensors["x"][0]) for i in items])
        clock.now += 4.0
        if len(items) > 1:
            raise RuntimeError
        return double(items)

    scheduler = DeviceScheduler(asyncio.get_running_loop(), clock)
    network = scheduler.add("m", 1, BatchLimits(4, 64), run)
    calls = [network.submit([item(i)], deadline) for i, deadline in enumerate([3.0, 10.0, 60.0, 60.0])]
    on_a_lane(scheduler)
    outcomes = [(await call.result())[0] for call in calls]
    assert tried == [[0, 1, 2, 3], [1], [2, 3], [2], [3]]
    assert isinstance(outcomes[0], DeadlineExceeded)
    assert [value_of(outcome) for outcome in outcomes[1:]] == [2, 4, 6]


async def test_callback_that_raises_does_not_keep_others_from_their_outcomes() -> None:
    scheduler = DeviceScheduler(asyncio.get_running_loop(), Clock())
    network = scheduler.add("m", 1, BatchLimits(4, 64), double)
    answers: list[float] = []

    def breaks(_: Sequence[Row | ZooError]) -> None:
        raise RuntimeError("of the caller")

    network.submit([item(1)], NEVER, on_done=breaks)
    network.submit([item(2)], NEVER, on_done=lambda rows: answers.append(value_of(rows[0])))
    on_a_lane(scheduler)
    await until(lambda: answers)
    assert answers == [4]


# ── turned away ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_row_dropped_for_fuller_batches_gets_a_retry_hint() -> None:
    clock = Clock()
    scheduler = DeviceScheduler(asyncio.get_running_loop(), clock)
    network = scheduler.add("m", 1, BatchLimits(8, 64), double)
    network.queue.cost = KnownCost(Law(1.0, 0.01, 0.0))
    network.queue.mark_overloaded(clock())
    tight = network.submit([item(0)], 1.025)
    network.submit([item(i) for i in range(7)], 9.0)
    on_a_lane(scheduler)
    (row,) = await tight.result()
    assert isinstance(row, TooLate)
    assert row.retry_after_s == pytest.approx(1.07 - 0.015), "the lane is taken for so long, and it can wait a little"


async def test_too_late_row_is_answered_before_the_batch_beside_it_runs() -> None:
    go = threading.Event()

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        assert go.wait(PATIENCE_S)
        return double(items)

    scheduler = DeviceScheduler(asyncio.get_running_loop(), Clock())
    network = scheduler.add("m", 1, BatchLimits(8, 64), run)
    network.queue.cost = KnownCost(Law(1.0, 0.01, 0.0))
    late, in_time = network.submit([item(0)], 0.5), network.submit([item(1)], 9.0)
    lane = asyncio.create_task(asyncio.to_thread(on_a_lane, scheduler))
    try:
        (row,) = await asyncio.wait_for(late.result(), PATIENCE_S / 2)
    finally:
        go.set()
    assert isinstance(row, TooLate)
    assert value_of((await in_time.result())[0]) == 2
    await lane


@pytest.mark.parametrize(("arrived_at", "may_retry"), [(0.0, True), (1.9, False)])
async def test_preprocessing_time_of_a_request_counts_as_its_own(arrived_at: float, may_retry: bool) -> None:
    """It needs a second. With two of them, half of which somebody else took, another time may be better; with one tenth it
    may not."""
    scheduler = DeviceScheduler(asyncio.get_running_loop(), Clock(1.9))
    network = scheduler.add("m", 1, BatchLimits(8, 64), double)
    network.queue.cost = KnownCost(Law(1.0, 0.0, 0.0))
    late = network.submit([item(0)], 2.0, arrival=Arrival(arrived_at, 2.0))
    network.submit([item(1)], 9.0)
    on_a_lane(scheduler)
    (row,) = await late.result()
    assert isinstance(row, TooLate)
    assert (row.retry_after_s is not None) is may_retry
    assert not network.queue.is_overloaded(1.9), "fuller batches would not have helped it"


async def test_effective_deadline_of_an_arrival_orders_the_queue() -> None:
    scheduler = DeviceScheduler(asyncio.get_running_loop(), Clock(5.0))
    network = scheduler.add("m", 1, BatchLimits(1, 64), double)
    order: list[str] = []
    network.submit([item(1)], NEVER, on_done=lambda _: order.append("arrived now"))
    network.submit([item(2)], NEVER, on_done=lambda _: order.append("arrived before"), arrival=Arrival(2.0, 12.0))
    for _ in range(2):
        on_a_lane(scheduler)
    await until(lambda: len(order) == 2)
    assert order == ["arrived before", "arrived now"]

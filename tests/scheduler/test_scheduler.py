"""Rows, lanes and callers together: everyone gets their own answer, and no one waits for ever."""

import asyncio
import random
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from service.errors import DeadlineExceeded, Draining, InternalError, InvalidInput, OutOfMemory, TooLate, ZooError
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import Lanes
from service.scheduler.policy import BatchLimits
from service.scheduler.scheduler import DeviceScheduler, ScheduledNetwork
from service.types import Item, Row
from tests.support.scheduler.fakes import (
    PATIENCE_S,
    REPORT,
    Clock,
    double,
    happened,
    item,
    until,
    value_of,
)

pytestmark = pytest.mark.asyncio

FAR = 1e12


class Device:
    """A scheduler with lanes that have started."""

    def __init__(self, scheduler: DeviceScheduler, lanes: Lanes) -> None:
        self.scheduler = scheduler
        self.lanes = lanes

    def stop(self) -> None:
        self.scheduler.stop()
        self.lanes.join(PATIENCE_S)


@asynccontextmanager
async def device(lanes: int = 1, clock: Callable[[], float] | None = None) -> AsyncIterator[Device]:
    extra: dict[str, Any] = {"lanes": lanes} | ({"clock": clock} if clock else {})
    scheduler = DeviceScheduler(asyncio.get_running_loop(), **extra)
    made = Device(scheduler, Lanes(DevicePlan("cpu", lanes, 1), scheduler.next_job))
    made.lanes.start()
    try:
        yield made
    finally:
        made.stop()


class Gated:
    """A network that waits for `gate` while it runs, and signals when it was entered."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[float]] = []

    def __call__(self, items: Sequence[Item], _: float | None = None) -> list[Row]:
        self.batches.append([float(i.tensors["x"][0]) for i in items])
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        return double(items)


async def ask(network: ScheduledNetwork, items: Sequence[Item], deadline: float) -> Sequence[Row | ZooError]:
    """As the pipeline does it."""
    return await network.submit(items, deadline).result()


# ── one network ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_outcomes_are_in_the_order_of_the_rows_over_several_batches() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(3, 64), double)
        rows = await network.submit([item(i) for i in range(10)], FAR).result()
        assert [value_of(row) for row in rows] == [2 * i for i in range(10)]


async def test_idle_lane_runs_at_once_and_a_busy_one_lets_the_next_batch_fill() -> None:
    async with device() as d:
        network_of = Gated()
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), network_of)
        calls = [asyncio.create_task(ask(network, [item(0)], FAR))]
        await happened(network_of.entered)  # alone, though more may come
        calls += [asyncio.create_task(ask(network, [item(i)], FAR)) for i in range(1, 6)]
        await until(lambda: network.depth == 5)
        network_of.gate.set()
        await asyncio.gather(*calls)
        assert network_of.batches == [[0], [1, 2, 3, 4], [5]]
        assert network.depth == 0


async def test_two_lanes_run_two_batches_at_once() -> None:
    async with device(lanes=2) as d:
        both = threading.Barrier(2)

        def meet(items: Sequence[Item], _: float | None = None) -> list[Row]:
            both.wait(PATIENCE_S)  # passes only when two batches are inside together
            return double(items)

        network = d.scheduler.add("m", 1, BatchLimits(1, 64), meet)
        rows = await network.submit([item(i) for i in range(4)], FAR).result()
        assert [value_of(row) for row in rows] == [0, 2, 4, 6]


async def test_longest_wait_counts_rows_with_a_deadline_only() -> None:
    clock = Clock()
    scheduler = DeviceScheduler(asyncio.get_running_loop(), clock=clock)
    network = scheduler.add("model", 1, BatchLimits(8, 512), double)
    clock.now = 1.0
    network.submit([item(1.0)], float("inf"))  # of a job: it may wait as long as it likes
    assert scheduler.longest_wait_s() == 0.0
    clock.now = 2.0
    network.submit([item(2.0)], FAR)
    clock.now = 2.5
    network.submit([item(3.0)], FAR)
    clock.now = 3.0
    assert scheduler.longest_wait_s() == pytest.approx(1.0)
    scheduler.stop()


async def test_a_submission_of_no_rows_is_answered() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), double)
        async with asyncio.timeout(PATIENCE_S):
            assert await network.submit([], FAR).result() == []


async def test_delay_collects_rows_of_several_callers_into_one_batch() -> None:
    clock = Clock()
    async with device(clock=clock) as d:
        batches: list[int] = []

        def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
            batches.append(len(items))
            return double(items)

        network = d.scheduler.add("m", 1, BatchLimits(3, 64, max_queue_delay_s=1000.0), run)
        calls = [asyncio.create_task(ask(network, [item(i)], FAR)) for i in range(2)]
        await until(lambda: network.depth == 2)
        assert batches == [], "two rows wait for a third while the clock stands"
        calls.append(asyncio.create_task(ask(network, [item(2)], FAR)))
        await asyncio.gather(*calls)
        assert batches == [3]


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fails_on(*poison: float, error: Exception | None = None) -> Callable[[Sequence[Item]], list[Row]]:
    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        if any(float(i.tensors["x"][0]) in poison for i in items):
            raise error or RuntimeError("CUDA error in /a/path")
        return double(items)

    return run


@pytest.mark.parametrize("guilty", [{0}, {7}, {3, 4}, {0, 1, 2, 3, 4, 5, 6, 7}])
async def test_bad_row_fails_alone_and_its_neighbours_are_answered(guilty: set[int]) -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(8, 64), fails_on(*guilty))
        rows = await network.submit([item(i) for i in range(8)], FAR).result()
        for i, row in enumerate(rows):
            if i in guilty:
                assert isinstance(row, InternalError)
                assert "/a/path" not in row.message
            else:
                assert value_of(row) == 2 * i


async def test_row_of_another_caller_is_answered_beside_a_bad_row() -> None:
    async with device() as d:
        gated, fail = Gated(), fails_on(1)

        def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
            gated(items)
            return fail(items)

        network = d.scheduler.add("m", 1, BatchLimits(8, 64), run)
        first = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        calls = [asyncio.create_task(ask(network, [item(i)], FAR)) for i in (1, 2)]
        await until(lambda: network.depth == 2)
        gated.gate.set()
        ((zero,), (one,), (two,)) = await asyncio.gather(first, *calls)
        assert gated.batches[1] == [1, 2]
        assert (value_of(zero), value_of(two)) == (0, 4)
        assert isinstance(one, InternalError)


async def test_zoo_error_reaches_the_bad_row_unchanged() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), fails_on(2, error=InvalidInput("x", "is two")))
        rows = await network.submit([item(i) for i in range(4)], FAR).result()
        assert isinstance(rows[2], InvalidInput)
        assert rows[2].message == "x: is two"
        assert [value_of(rows[i]) for i in (0, 1, 3)] == [0, 2, 6]


@pytest.mark.parametrize("wrong", ["short", "long", "none at all"])
async def test_a_wrong_number_of_outputs_never_reaches_a_caller(wrong: str) -> None:
    def run(items: Sequence[Item], _: float | None = None) -> Any:
        rows = double(items)
        return {"short": rows[:-1], "long": [*rows, rows[0]], "none at all": None}[wrong]

    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), run)
        rows = await network.submit([item(i) for i in range(4)], FAR).result()
        assert all(isinstance(row, InternalError) for row in rows)


async def test_outputs_too_short_in_a_batch_reach_no_other_row() -> None:
    """A network that loses a row of a batch must not shift the answers: halved, each gets its own."""

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        return double(items)[1:] if len(items) > 1 else double(items)

    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), run)
        rows = await network.submit([item(i) for i in range(4)], FAR).result()
        assert [value_of(row) for row in rows] == [0, 2, 4, 6]


async def test_a_lane_survives_whatever_a_network_raises() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), fails_on(1, error=MemoryError()))
        (row,) = await network.submit([item(1)], FAR).result()
        assert isinstance(row, InternalError)
        (row,) = await network.submit([item(2)], FAR).result()
        assert value_of(row) == 4


# ── deadlines, departures ─────────────────────────────────────────────────────────────────────────────────────────


async def test_row_that_waited_past_its_deadline_fails_and_never_runs() -> None:
    clock, gated = Clock(), Gated()
    async with device(clock=clock) as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), gated)
        first = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        late = asyncio.create_task(ask(network, [item(1)], 10.0))
        in_time = asyncio.create_task(ask(network, [item(2)], 30.0))
        await until(lambda: network.depth == 2)
        clock.now = 20.0
        gated.gate.set()
        (row,) = await late
        assert isinstance(row, DeadlineExceeded)
        assert value_of((await in_time)[0]) == 4
        assert value_of((await first)[0]) == 0
        assert gated.batches == [[0], [2]]


async def test_a_departed_caller_never_runs_and_never_strands_its_batch() -> None:
    gated = Gated()
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), gated)
        running = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        waiting = [asyncio.create_task(ask(network, [item(i)], FAR)) for i in range(1, 4)]
        await until(lambda: network.depth == 3)
        running.cancel()  # its batch is already on the device
        waiting[1].cancel()
        await asyncio.wait([running, waiting[1]])
        assert network.depth == 2
        gated.gate.set()
        assert value_of((await waiting[0])[0]) == 2
        assert value_of((await waiting[2])[0]) == 6
        assert gated.batches == [[0], [1, 3]]
        assert running.cancelled()


async def test_cancelled_caller_drops_all_rows_that_have_not_started() -> None:
    gated = Gated()
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(2, 64), gated)
        call = asyncio.create_task(ask(network, [item(i) for i in range(7)], FAR))
        await happened(gated.entered)
        call.cancel()
        await asyncio.wait([call])
        assert network.depth == 0
        gated.gate.set()
        (row,) = await network.submit([item(9)], FAR).result()
        assert value_of(row) == 18
        assert gated.batches == [[0, 1], [9]]


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_removed_network_fails_waiting_rows_and_finishes_running_ones() -> None:
    gated = Gated()
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(1, 64), gated)
        running = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        waiting = [asyncio.create_task(ask(network, [item(i)], FAR)) for i in range(1, 4)]
        await until(lambda: network.depth == 3)
        d.scheduler.remove(network)
        for call in waiting:
            async with asyncio.timeout(PATIENCE_S):
                (row,) = await call
            assert isinstance(row, ZooError)
        gated.gate.set()
        assert value_of((await running)[0]) == 0
        assert gated.batches == [[0]]


async def test_removed_network_fails_later_rows_at_once() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(1, 64), double)
        d.scheduler.remove(network)
        d.scheduler.remove(network)
        async with asyncio.timeout(PATIENCE_S):
            (row,) = await network.submit([item(0)], FAR).result()
        assert isinstance(row, ZooError)
        assert network.depth == 0


async def test_removing_one_network_leaves_the_others_alone() -> None:
    async with device() as d:
        gone, stays = (d.scheduler.add(name, 1, BatchLimits(1, 64), double) for name in "ab")
        d.scheduler.remove(gone)
        (row,) = await stays.submit([item(3)], FAR).result()
        assert value_of(row) == 6


async def test_stopped_scheduler_answers_all_waiting_rows() -> None:
    gated = Gated()
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(1, 64), gated)
        running = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        waiting = asyncio.create_task(ask(network, [item(1), item(2)], FAR))
        await until(lambda: network.depth == 2)
        d.scheduler.stop()
        async with asyncio.timeout(PATIENCE_S):
            rows = await waiting
        assert [type(row) for row in rows] == [Draining, Draining]
        gated.gate.set()
        assert value_of((await running)[0]) == 0
        async with asyncio.timeout(PATIENCE_S):
            (row,) = await network.submit([item(3)], FAR).result()
        assert isinstance(row, ZooError)
        assert gated.batches == [[0]]


async def test_stopped_scheduler_ends_every_lane() -> None:
    async with device(lanes=3) as d:
        threads = d.lanes._threads
        assert all(t.is_alive() for t in threads)
        d.stop()
        assert not any(t.is_alive() for t in threads)


@pytest.mark.filterwarnings("error")
async def test_outcomes_after_the_loop_closed_do_not_break_the_lane() -> None:
    gated = Gated()
    other = asyncio.new_event_loop()
    scheduler = DeviceScheduler(other)
    lanes = Lanes(DevicePlan("cpu", 1, 1), scheduler.next_job)
    lanes.start()
    network = scheduler.add("m", 1, BatchLimits(1, 64), gated)

    async def submit() -> None:
        network.submit([item(0)], FAR)
        network.submit([item(1)], FAR)

    async def turn() -> None:
        """Whatever the loop still had to do comes before this."""

    await asyncio.to_thread(other.run_until_complete, submit())
    await asyncio.to_thread(other.run_until_complete, turn())
    await happened(gated.entered)
    other.close()
    gated.gate.set()
    await until(lambda: len(gated.batches) == 2)  # the lane has survived the first
    scheduler.stop()
    lanes.join(PATIENCE_S)
    assert not any(t.is_alive() for t in lanes._threads)


# ── out of memory ─────────────────────────────────────────────────────────────────────────────────────────────────


def fits(most: int, sizes: list[int]) -> Callable[[Sequence[Item]], list[Row]]:
    """A network with memory for so many rows at once."""

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        sizes.append(len(items))
        if len(items) > most:
            raise OutOfMemory
        return double(items)

    return run


async def test_batch_that_does_not_fit_is_halved_and_all_rows_are_answered() -> None:
    sizes: list[int] = []
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(8, 64), fits(3, sizes))
        rows = await network.submit([item(i) for i in range(16)], FAR).result()
        assert [value_of(row) for row in rows] == [2 * i for i in range(16)]
        assert sizes[:6] == [8, 4, 2, 2, 2, 2]
        assert set(sizes[6:]) == {2}, "the next batches are as small as what did fit"


async def test_row_that_does_not_fit_alone_gets_out_of_memory() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(8, 64), fits(0, []))
        (row,) = await network.submit([item(1)], FAR).result()
        assert isinstance(row, OutOfMemory)


async def test_retry_has_the_memory_of_the_failed_batch() -> None:
    """An error that is kept would keep the frames that raised it, and their tensors."""
    held: list[weakref.ref[Any]] = []

    def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
        assert all(ref() is None for ref in held), "what the failed batch allocated is still there"
        activations = np.zeros(1000)
        held.append(weakref.ref(activations))
        if len(items) > 1:
            raise OutOfMemory
        return double(items)

    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), run)
        rows = await network.submit([item(i) for i in range(4)], FAR).result()
        assert [value_of(row) for row in rows] == [0, 2, 4, 6]


# ── cost, admission, options ──────────────────────────────────────────────────────────────────────────────────────


class Timed:
    """A network whose batches take a second a row on the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __call__(self, items: Sequence[Item], _: float | None = None) -> list[Row]:
        self.clock.now += len(items)
        return double(items)


async def test_costs_are_learned_from_batches() -> None:
    clock = Clock()
    async with device(clock=clock) as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), Timed(clock))
        assert network.predicted_s(2, 1) is None
        assert network.seconds_a_row is None
        await network.submit([item(i) for i in range(70)], FAR).result()
        assert network.predicted_s(4, 1) == pytest.approx(4.0, rel=0.05)
        assert network.seconds_a_row == pytest.approx(1.0, rel=0.05)


async def test_warm_up_teaches_costs_before_the_first_request() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), double)
        for rows in (1, 2, 1, 2):
            network.learn(rows, 1, float(rows))
        assert network.predicted_s(4, 1) == pytest.approx(4.0, rel=0.3)


async def test_each_way_of_running_has_its_own_costs() -> None:
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), double)
        network.use_cost(("eager", "fp32"))
        for _ in range(8):
            network.learn(1, 1, 4.0)
        network.use_cost(("compiled", "bf16"))
        assert network.predicted_s(1, 1) is None
        for _ in range(8):
            network.learn(1, 1, 1.0)
        assert network.predicted_s(1, 1) == pytest.approx(1.0, rel=0.01)
        network.use_cost(("eager", "fp32"))
        assert network.predicted_s(1, 1) == pytest.approx(4.0, rel=0.01)


async def test_a_batch_that_failed_teaches_nothing() -> None:
    clock = Clock()

    def fail(items: Sequence[Item], _: float | None = None) -> list[Row]:
        clock.now += 1000.0
        raise RuntimeError

    async with device(clock=clock) as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), fail)
        for _ in range(8):
            await network.submit([item(1)], FAR).result()
        assert network.predicted_s(1, 1) is None


async def test_row_that_can_no_longer_be_in_time_fails_without_running() -> None:
    clock, gated = Clock(), Gated()
    async with device(clock=clock) as d:
        network = d.scheduler.add("m", 1, BatchLimits(4, 64), gated)
        for _ in range(8):
            network.learn(1, 1, 1.0)
        first = asyncio.create_task(ask(network, [item(0)], FAR))
        await happened(gated.entered)
        assert network.refuse(1, 1.5) is not None
        late = asyncio.create_task(ask(network, [item(1)], 1.5))
        in_time = asyncio.create_task(ask(network, [item(2)], 60.0))
        await until(lambda: network.depth == 2)
        clock.now = 1.0
        gated.gate.set()
        (row,) = await late
        assert isinstance(row, TooLate)
        assert row.retry_after_s is not None
        assert 0.5 <= row.retry_after_s <= 0.7, (
            "half a second more, and as much as predictions err, would have been enough"
        )
        assert value_of((await in_time)[0]) == 4
        assert value_of((await first)[0]) == 0
        assert network.refuse(1, 1.1) is None, "the device is idle"


async def test_limits_change_while_rows_wait() -> None:
    clock, gated = Clock(), Gated()
    gated.gate.set()
    async with device(clock=clock) as d:
        network = d.scheduler.add("m", 1, BatchLimits(8, 64, max_queue_delay_s=1000.0), gated)
        call = asyncio.create_task(ask(network, [item(i) for i in range(4)], FAR))
        await until(lambda: network.depth == 4)
        network.set_limits(BatchLimits(2, 64))
        await call
        assert [len(batch) for batch in gated.batches] == [2, 2]


async def test_a_higher_priority_goes_first() -> None:
    gated = Gated()
    async with device() as d:
        network = d.scheduler.add("m", 1, BatchLimits(1, 64), gated)
        calls = [asyncio.create_task(ask(network, [item(0)], FAR))]
        await happened(gated.entered)
        calls += [asyncio.create_task(network.submit([item(p)], FAR, p).result()) for p in (9, 0, 1)]
        await until(lambda: network.depth == 3)
        gated.gate.set()
        await asyncio.gather(*calls)
        assert gated.batches == [[0], [1], [0], [9]]


# ── everything at once ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
async def test_callers_get_exactly_their_own_answers_under_disorder(seed: int) -> None:
    """500 callers on three networks and two lanes, with guilty rows, deadlines that pass and callers who leave."""
    rng = random.Random(seed)
    biggest = {"a": 4, "b": 7, "c": 1}
    seen: list[tuple[str, float]] = []
    lock = threading.Lock()
    too_big: list[int] = []

    def network(name: str, factor: float) -> Callable[[Sequence[Item]], list[Row]]:
        chaos = random.Random(f"{seed}{name}")

        def run(items: Sequence[Item], _: float | None = None) -> list[Row]:
            values = [float(i.tensors["x"][0]) for i in items]
            if len(items) > biggest[name]:
                too_big.append(len(items))
            if any(int(v) % 23 == 7 for v in values):
                raise RuntimeError("guilty")
            with lock:
                if len(items) > 1 and chaos.random() < 0.1:
                    raise ValueError("a passing fault of the whole batch")
                seen.extend((name, v) for v in values)
            return [Row({"y": np.array([v * factor])}, REPORT) for v in values]

        return run

    async with device(lanes=2) as d:
        factors = {"a": 2.0, "b": 3.0, "c": 5.0}
        networks = {
            name: d.scheduler.add(
                name, 1, BatchLimits(biggest[name], 10_000, 0.001 if name == "b" else 0.0), network(name, f)
            )
            for name, f in factors.items()
        }
        now = asyncio.get_running_loop().time
        outcomes: dict[int, str] = {}

        async def caller(number: int) -> None:
            name, rows = rng.choice("abc"), rng.randint(1, 12)
            values = [number * 100.0 + i for i in range(rows)]
            fate = rng.random()
            deadline = now() + (rng.random() * 0.02 if fate < 0.15 else 1000)
            call = asyncio.create_task(ask(networks[name], [item(v) for v in values], deadline))
            if 0.15 <= fate < 0.35:
                for _ in range(rng.randint(0, 30)):
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.wait([call])
            if call.cancelled():
                outcomes[number] = "left"
                return
            results = call.result()
            assert len(results) == rows
            for v, row in zip(values, results, strict=True):
                if isinstance(row, DeadlineExceeded):
                    assert fate < 0.15
                elif isinstance(row, InternalError):
                    assert int(v) % 23 == 7
                else:
                    assert isinstance(row, Row)
                    assert float(row.tensors["y"][0]) == v * factors[name]
            outcomes[number] = "answered"

        async with asyncio.timeout(60):
            async with asyncio.TaskGroup() as group:
                for number in range(500):
                    group.create_task(caller(number))
                    if rng.random() < 0.2:
                        await asyncio.sleep(0)
        assert len(outcomes) == 500
        assert {"left", "answered"} == set(outcomes.values())
        assert not too_big
        assert len(seen) == len(set(seen)), "no row ran twice to the end"
        assert all(network.depth == 0 for network in networks.values())

"""Whatever comes, in whatever order: every caller gets their own answer, or one right error. Threads are real, time is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DeadlineExceeded, InternalError, InvalidInput, OutOfMemory, TooLate, ZooError
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import Lanes
from service.scheduler.policy import BatchLimits
from service.scheduler.scheduler import DeviceScheduler, ScheduledNetwork
from service.types import Item, Row
from tests.support.scheduler.fakes import PATIENCE_S, REPORT, Clock

LIMITS = {
    "images": BatchLimits(4, 64),
    "texts": BatchLimits(6, 64, weight=2.0),
    "slow": BatchLimits(3, 64, max_queue_delay_s=0.5),
}
FOREVER = 1e9


@dataclass(frozen=True)
class Instance:
    """One row: its length, and what happens to its batch."""

    length: int
    fate: str
    """`fine`, `raises`, `invalid`, `hungry` (does not fit into memory, not even alone)"""


@dataclass(frozen=True)
class Caller:
    model: str
    rows: tuple[Instance, ...]
    within_s: float
    """Virtual seconds; FOREVER for no deadline."""
    priority: int
    after: int
    """Turns of the loop before it comes."""
    leaves_after: int | None
    """Turns of the loop after which it leaves, if it does."""
    asks: bool
    """Whether admission may refuse it."""


instances = st.builds(
    Instance,
    st.sampled_from([1, 2, 3, 8, 9, 10, 60, 300]),
    st.sampled_from(["fine"] * 12 + ["raises", "invalid", "hungry"]),
)
callers = st.builds(
    Caller,
    st.sampled_from(list(LIMITS)),
    st.lists(instances, min_size=0, max_size=9).map(tuple),
    st.one_of(st.just(FOREVER), st.floats(0.0, 3.0)),
    st.sampled_from([0, 0, 0, 1, 9, 2**32]),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(0, 40)),
    st.booleans(),
)


class Network:
    """y = x, in virtual time. Its batches fail by the rows in them, or by having more cells than memory has room for."""

    def __init__(self, clock: Clock, limits: BatchLimits, memory: int) -> None:
        self.clock = clock
        self.limits = limits
        self.memory = memory
        self.lock = threading.Lock()
        self.answered: list[float] = []
        self.too_big: list[int] = []

    def __call__(self, items: Sequence[Item], _: float | None = None) -> list[Row]:
        longest = max(item.length for item in items)
        fates = {item.notes["fate"] for item in items}
        with self.lock:
            self.clock.now += 0.01 + 0.001 * len(items) * longest / 10
            if len(items) > self.limits.max_batch_size:
                self.too_big.append(len(items))
        if "hungry" in fates or (len(items) > 1 and len(items) * longest > self.memory):
            raise OutOfMemory
        if "raises" in fates:
            raise RuntimeError("a foreign text")
        if "invalid" in fates:
            raise InvalidInput("x", "is not what it should be")
        with self.lock:
            self.answered += [float(item.tensors["x"][0]) for item in items]
        return [Row({"y": item.tensors["x"]}, REPORT) for item in items]


def check(outcome: Row | ZooError, instance: Instance, caller: Caller, value: float) -> None:
    """The row's own answer, or an error that is right for it."""
    if isinstance(outcome, DeadlineExceeded):
        assert caller.within_s < FOREVER, "only who has a deadline can be late"
    elif instance.fate == "fine":
        assert isinstance(outcome, Row), outcome
        assert float(outcome.tensors["y"][0]) == value
    else:
        kind = {"raises": InternalError, "invalid": InvalidInput, "hungry": OutOfMemory}[instance.fate]
        assert isinstance(outcome, kind)
        assert "foreign" not in str(outcome)


async def visit(number: int, caller: Caller, network: ScheduledNetwork, clock: Clock) -> str:
    """One caller, start to end."""
    for _ in range(caller.after):
        await asyncio.sleep(0)
    values = [number * 100.0 + i for i in range(len(caller.rows))]
    items = [
        Item({"x": np.array([value])}, instance.length, {"fate": instance.fate})
        for value, instance in zip(values, caller.rows, strict=True)
    ]
    deadline = clock() + caller.within_s
    if caller.asks and network.refuse(len(items), deadline, caller.priority) is not None:
        assert caller.within_s < FOREVER
        return "refused"

    async def ask() -> Sequence[Row | ZooError]:
        return await network.submit(items, deadline, caller.priority).result()

    call = asyncio.ensure_future(ask())
    if caller.leaves_after is not None:
        for _ in range(caller.leaves_after):
            await asyncio.sleep(0)
        call.cancel()
    await asyncio.wait([call])
    if call.cancelled():
        return "left"
    assert len(call.result()) == len(items)
    for outcome, instance, value in zip(call.result(), caller.rows, values, strict=True):
        check(outcome, instance, caller, value)
    return "late" if any(isinstance(outcome, TooLate) for outcome in call.result()) else "answered"


async def everyone(given_callers: Sequence[Caller], lanes: int, memory: int) -> None:
    clock = Clock()
    scheduler = DeviceScheduler(asyncio.get_running_loop(), clock, lanes)
    threads = Lanes(DevicePlan("cpu", lanes, 1), scheduler.next_job)
    runs = {name: Network(clock, limits, memory) for name, limits in LIMITS.items()}
    networks = {
        name: scheduler.add(name, 1, limits, runs[name], variable_length=name == "texts")
        for name, limits in LIMITS.items()
    }
    threads.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            calls = [
                asyncio.ensure_future(visit(number, caller, networks[caller.model], clock))
                for number, caller in enumerate(given_callers)
            ]
            done = asyncio.gather(*calls)
            while not done.done():
                # The clock moves past a delay as soon as a lane looks again.
                clock.now += 0.001
                scheduler.set_limits(networks["slow"], LIMITS["slow"])
                await asyncio.sleep(0)
            ends = await done
        assert len(ends) == len(given_callers)
        for name, network in networks.items():
            assert network.depth == 0
            assert not runs[name].too_big
            assert len(runs[name].answered) == len(set(runs[name].answered)), "a row was answered twice"
    finally:
        scheduler.stop()
        await asyncio.to_thread(threads.join, PATIENCE_S)
    assert not scheduler._policy._running, "every batch was ended"


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.lists(callers, min_size=1, max_size=40), st.integers(1, 3), st.sampled_from([15, 60, 10**6]))
def test_callers_get_exactly_their_own_answer_or_the_right_error(
    given_callers: list[Caller], lanes: int, memory: int
) -> None:
    asyncio.run(everyone(given_callers, lanes, memory))

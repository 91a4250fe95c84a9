"""A loaded model: which requests it admits, how it refuses others, and what the failures of the device become."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.engine.served_model import PREPARED_AHEAD
from service.errors import QueueFull, TooLate
from service.types import InferReply, Prediction, TensorInstance
from tests.support.registry.fakes import (
    PATIENCE_S,
    FakeRuntime,
    World,
    world,
)
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

LABELS = {"model": "adder", "version": "1"}


async def ask(w: World, *texts: Any, **changes: Any) -> InferReply:
    return await w.inference.infer(w.request(*texts, **changes))


def tensor(value: float) -> TensorInstance:
    return TensorInstance({"x": np.array([value], np.float32)})


def teach(w: World, seconds_a_row: float = 1.0) -> None:
    """Every row is known to take so long."""
    for rows in (1, 2, 3, 4) * 4:
        w.model().learn(rows, 1, rows * seconds_a_row)


@asynccontextmanager
async def busy(w: World, *waiting: str) -> AsyncIterator[None]:
    """A batch of one row is on the device and stays there; others wait behind it."""
    w.runtime().gate.clear()
    calls = [asyncio.create_task(ask(w, "1000"))]
    await until(lambda: w.runtime().batches)
    calls += [asyncio.create_task(ask(w, text)) for text in waiting]
    await until(lambda: w.model().queue_depth == len(waiting))
    try:
        yield
    finally:
        w.runtime().gate.set()
        await asyncio.gather(*calls)


# ── too late ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_request_that_cannot_be_in_time_is_refused_before_preprocessing() -> None:
    async with world() as w:
        teach(w)
        async with busy(w):
            w.task().calls.clear()
            with pytest.raises(TooLate) as caught:
                await ask(w, "1", deadline=time.monotonic() + 1.5)
            assert caught.value.retry_after_s is not None
            assert 0.1 < caught.value.retry_after_s <= 2.0
            assert w.task().calls == []
            assert w.sample("zoo_rejected_total", **LABELS, reason="too_late") == 1
            assert w.sample("zoo_rejected_total", **LABELS, reason="deadline") == 0
            assert w.model().rows_in_flight == 1


async def test_request_with_less_time_than_one_row_takes_gets_no_retry_hint() -> None:
    async with world() as w:
        teach(w)
        async with busy(w):
            with pytest.raises(TooLate, match="less time than it takes by itself") as caught:
                await ask(w, "1", deadline=time.monotonic() + 0.5)
            assert caught.value.retry_after_s is None


async def test_request_with_enough_time_is_admitted() -> None:
    async with world() as w:
        teach(w)
        async with busy(w):
            patient = asyncio.create_task(ask(w, "1", deadline=time.monotonic() + 600))
            await until(lambda: w.model().queue_depth == 1)
        (prediction,) = (await patient).predictions
        assert isinstance(prediction, Prediction)


async def test_idle_device_admits_a_request_that_seems_too_long() -> None:
    async with world() as w:
        teach(w, seconds_a_row=1000.0)
        (prediction,) = (await ask(w, "1", deadline=time.monotonic() + 60)).predictions
        assert isinstance(prediction, Prediction)


async def test_requests_in_preparation_count_as_work_ahead() -> None:
    async with world() as w:
        teach(w)
        w.task().gate.clear()
        first = asyncio.create_task(ask(w, *["1"] * 12))
        await until(lambda: w.model().rows_in_flight == 12)
        with pytest.raises(TooLate):
            await ask(w, "2", deadline=time.monotonic() + 10.5)
        w.task().gate.set()
        await first
        assert isinstance((await ask(w, "2", deadline=time.monotonic() + 10.5)).predictions[0], Prediction)


@pytest.mark.parametrize("who", [{"priority": 1}, {"deadline_s": 3.0}])
async def test_urgent_request_is_not_counted_behind_rows_in_preprocessing(who: dict[str, float]) -> None:
    async with world() as w:
        teach(w)
        w.task().gate.clear()
        first = asyncio.create_task(ask(w, *["1"] * 12))
        await until(lambda: w.model().rows_in_flight == 12)
        deadline = time.monotonic() + who.get("deadline_s", 10.5)
        w.runtime().gate.clear()
        ours = asyncio.create_task(
            ask(w, tensor(2.0), deadline=deadline, priority=int(who.get("priority", 0)))
        )  # nothing to prepare
        await until(lambda: w.runtime().batches)
        assert w.runtime().batches == [[2.0]]
        w.runtime().gate.set()
        w.task().gate.set()
        assert isinstance((await ours).predictions[0], Prediction)
        await first


async def test_raw_inputs_of_first_priority_are_preprocessed_and_run_before_waiting_ones() -> None:
    async with world(max_batch_size=1) as w:
        w.task().gate.clear()
        calls = [asyncio.create_task(ask(w, str(n), priority=9)) for n in range(20)]
        await until(lambda: w.model().rows_in_flight == 20)
        calls.append(asyncio.create_task(ask(w, "1000", priority=1)))
        await until(lambda: w.model().rows_in_flight == 21)
        w.task().gate.set()
        await asyncio.gather(*calls)
        at = [batch[0] for batch in w.runtime().batches].index(1000.0)
        assert at <= PREPARED_AHEAD, "behind no more rows than were being preprocessed"


async def test_retry_hint_of_a_full_queue_follows_the_cost_of_rows() -> None:
    async with world(max_queue_size=4) as w:
        teach(w, seconds_a_row=2.0)
        async with busy(w, "1", "2", "3"):
            with pytest.raises(QueueFull) as caught:
                await ask(w, "4")
            assert caught.value.retry_after_s == pytest.approx(2.0, rel=0.1)


# ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_predicted_batch_seconds_are_recorded_beside_the_actual_ones() -> None:
    async with world() as w:
        for _ in range(10):
            await ask(w, "1")
        predicted = w.sample("zoo_predicted_execute_seconds_count", **LABELS)
        assert 0 < predicted < 10, "from the first prediction on"
        assert w.sample("zoo_batch_execute_seconds_count", **LABELS) == predicted
        assert w.sample("zoo_predicted_execute_seconds_sum", **LABELS) > 0


async def test_new_runtime_learns_its_own_costs() -> None:
    class Faster(FakeRuntime):
        precision = "bf16"

    async with world() as w:
        teach(w)
        served = w.model()
        assert served._network.predicted_s(1, 1) == pytest.approx(1.0, rel=0.1)
        served.use(Faster())
        assert served._network.predicted_s(1, 1) is None
        assert isinstance((await ask(w, "1")).predictions[0], Prediction)


async def test_new_limits_hold_for_later_requests() -> None:
    async with world(max_queue_size=2) as w:
        async with busy(w, "1"):
            with pytest.raises(QueueFull):
                await ask(w, "2")
            w.model().set_limits(replace(w.model().limits, max_queue_size=3, max_batch_size=1))
            third = asyncio.create_task(ask(w, "2"))
            await until(lambda: w.model().queue_depth == 2)
        await third
        assert [len(batch) for batch in w.runtime().batches] == [1, 1, 1]


async def test_a_priority_goes_first_in_the_queue() -> None:
    async with world(max_batch_size=1) as w:
        async with busy(w, "1", "2"):
            urgent = asyncio.create_task(ask(w, "3", priority=1))
            await until(lambda: w.model().queue_depth == 3)
        await urgent
        assert w.runtime().batches == [[1000], [3], [1], [2]]


async def test_request_that_the_reply_delay_makes_late_is_not_admitted() -> None:
    """The queue reserves the reply delay before a row's deadline; admission reserves it as well."""
    async with world() as w:
        served = w.model()
        for rows in (1, 2, 3, 4) * 4:
            served.learn(rows, 1, rows * 100.0)
        w.runtime().gate.clear()
        running = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: w.runtime().batches)
        deadline = time.monotonic() + 240.0  # a row is done after 200 s and a little
        served.admit(1, deadline)
        served.release(1)
        served.observe_reply_delay(1e6)  # answers are slow to reach their callers: a fifth of the time is kept for that
        with pytest.raises(TooLate):
            served.admit(1, deadline)
        w.runtime().gate.set()
        await asyncio.wait_for(running, PATIENCE_S)

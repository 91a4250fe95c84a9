"""Callers who leave, at every step of the way: what they left is not run, and nothing of it stays."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.engine.served_model import PREPARED_AHEAD
from service.errors import ZooError
from service.types import InferReply, Instance, Item, Prediction, TensorInstance, Tensors
from service.wire.stopping import Stopping
from service.wire.streams import Stream
from tests.support.registry.fakes import World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

LABELS = {"model": "adder", "version": "1"}
CALLS, WAVE = 10_000, 100


async def ask(w: World, *texts: Any, **changes: Any) -> InferReply:
    return await w.inference.infer(w.request(*texts, **changes))


async def quickly(w: World, instances: Sequence[TensorInstance]) -> Sequence[Tensors]:
    return await w.inference.infer_tensors(w.model(), [Item(each.tensors) for each in instances], None, 0)


def tensor(value: float) -> TensorInstance:
    return TensorInstance({"x": np.array([value], np.float32)})


def watch(w: World, monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """Every array that preprocessing makes."""
    arrays: list[weakref.ref[Any]] = []
    prepare = w.task().preprocess

    def preprocess(instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        items = prepare(instances, paths)
        arrays.extend(weakref.ref(item.tensors["x"]) for item in items if isinstance(item, Item))
        return items

    monkeypatch.setattr(w.task(), "preprocess", preprocess)
    return arrays


def assert_nothing_left(w: World) -> None:
    """No one is inside any more, by every count there is."""
    served = w.model()
    assert served.rows_in_flight == served.queue_depth == 0
    assert served.preprocess.pending.count_before(math.inf) == 0
    assert served.preprocess.permits.free == PREPARED_AHEAD * served.limits.max_batch_size
    assert w.inference._in_flight.count == 0
    assert w.sample("zoo_in_flight_requests", **LABELS) == 0
    assert w.sample("zoo_queue_depth", **LABELS) == 0
    assert not w.scheduler._policy._running
    assert not w.scheduler._policy.waiting


async def test_ten_thousand_cancelled_callers_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    async with world(max_batch_size=4, max_queue_size=10_000, lanes=2) as w:
        arrays = watch(w, monkeypatch)
        given: list[weakref.ref[Any]] = []
        tasks_before, cancelled = len(asyncio.all_tasks()), 0

        async def one(turns: int, raw: bool) -> None:
            instance: Any = "7"
            if not raw:
                instance = tensor(7)
                given.append(weakref.ref(instance.tensors["x"]))
            rows, quick = rng.randint(1, 5), not raw and rng.random() < 0.5
            walk: Any = quickly(w, [instance] * rows) if quick else ask(w, *[instance] * rows)
            call = asyncio.create_task(walk)
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            nonlocal cancelled
            cancelled += call.cancelled()

        for _ in range(CALLS // WAVE):
            held = rng.random() < 0.5
            if held:  # the device is at something, so that they stand in the queue
                w.runtime().gate.clear()
            await asyncio.gather(*[one(rng.randint(0, 40), rng.random() < 0.3) for _ in range(WAVE)])
            w.runtime().gate.set()
        await until(lambda: not w.scheduler._policy._running and not w.inference._in_flight.count)
        assert cancelled >= CALLS // 2
        reply = await ask(w, "3")
        assert isinstance(reply.predictions[0], Prediction)
        del reply
        w.runtime().batches.clear()
        assert_nothing_left(w)
        assert len(asyncio.all_tasks()) == tasks_before
        # Calls that the pool had begun end there, whether or not their callers wait.
        await asyncio.gather(*[asyncio.get_running_loop().run_in_executor(w.pool, gc.collect) for _ in range(2)])
        gc.collect()
        assert arrays
        assert given
        assert not [ref for ref in [*arrays, *given] if ref() is not None]
        futures = [thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.Future) and not thing.done()]
        assert len(futures) <= tasks_before + 2


async def test_request_cancelled_before_preprocessing_is_not_preprocessed() -> None:
    async with world(max_batch_size=1) as w:
        w.task().gate.clear()
        room = PREPARED_AHEAD * 1
        inside = [asyncio.create_task(ask(w, "1")) for _ in range(room)]
        await until(lambda: w.model().preprocess.permits.free == 0)
        outside = [asyncio.create_task(ask(w, "2")) for _ in range(5)]
        await until(lambda: w.model().rows_in_flight == room + 5)
        for call in outside:
            call.cancel()
        await asyncio.wait(outside)
        w.task().gate.set()
        await asyncio.gather(*inside)
        assert w.task().prepared == room
        assert_nothing_left(w)


async def test_request_cancelled_during_preprocessing_does_not_run() -> None:
    async with world() as w:
        w.task().gate.clear()
        call = asyncio.create_task(ask(w, "1"))
        await until(lambda: w.model().preprocess.permits.free < PREPARED_AHEAD * 4)
        call.cancel()
        await asyncio.wait([call])
        w.task().gate.set()
        await ask(w, "2")
        assert [1.0] not in w.runtime().batches
        assert_nothing_left(w)


async def test_request_cancelled_in_the_queue_does_not_run() -> None:
    async with world(max_batch_size=1) as w:
        w.runtime().gate.clear()
        running = asyncio.create_task(ask(w, tensor(1)))
        await until(lambda: w.runtime().batches)
        waiting = [asyncio.create_task(ask(w, tensor(i))) for i in (2, 3)]
        await until(lambda: w.model().queue_depth == 2)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert w.model().queue_depth == 1
        w.runtime().gate.set()
        await asyncio.gather(running, waiting[1])
        assert w.runtime().batches == [[1], [3]]
        assert_nothing_left(w)


class Sender:
    """Sends ten numbers, and stays until its connection breaks."""

    def __init__(self) -> None:
        self.left = iter(range(10))

    async def read(self) -> int:
        number = next(self.left, None)
        return await asyncio.Event().wait() if number is None else number

    async def write(self, reply: object) -> None:
        """Takes it."""


@pytest.mark.parametrize("quick", [False, True])
async def test_disconnected_stream_drops_its_queued_rows(quick: bool) -> None:
    async with world(max_batch_size=1) as w:
        w.runtime().gate.clear()

        def begin(number: int, stream: Stream[int, Any]) -> None:
            if quick:
                items = [Item(tensor(number).tensors)]
                call = w.inference.submit_tensors(w.model(), items, None, 0, lambda call: stream.reply(None, call))
                stream.under_way.add(call)
            else:
                stream.start(ask(w, tensor(number)))

        reader = asyncio.create_task(Stream(Sender(), begin, 8, Stopping()).run())
        await until(lambda: w.model().queue_depth == 7)
        reader.cancel()
        await asyncio.wait([reader])
        await until(lambda: w.model().queue_depth == 0)
        w.runtime().gate.set()
        await ask(w, tensor(100))
        assert w.runtime().batches == [[0], [100]]
        assert_nothing_left(w)

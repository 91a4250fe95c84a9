"""Answers that take several passes: each pass is a row like any other, and callers share batches at every one."""

import asyncio
import math
import time
from typing import Any

import numpy as np
import pytest

from service.errors import DeadlineExceeded, InternalError
from service.types import Embedding, InferReply, Item, Options, Prediction, TensorInstance, Tensors
from tests.support.registry.fakes import World, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio


def doubling(most: float) -> Any:
    """x → 2 x + 1 again and again, until it is over `most`."""

    def next_item(item: Item, row: Tensors, options: Options) -> Item | None:
        value = float(row["y"][0])
        return None if value > most else Item({"x": np.array([value], np.float32)}, 1, item.notes)

    return next_item


async def ask(w: World, *texts: Any, **changes: Any) -> InferReply:
    return await w.inference.infer(w.request(*texts, **changes))


def values(reply: InferReply) -> list[float]:
    found = []
    for prediction in reply.predictions:
        assert isinstance(prediction, Prediction), prediction
        assert isinstance(prediction.answer, Embedding)
        found.append(float(prediction.answer.values[0]))
    return found


def assert_nothing_left(w: World) -> None:
    served = w.model()
    assert served.rows_in_flight == served.queue_depth == 0
    assert served.preprocess.pending.count_before(math.inf) == 0


async def test_row_runs_passes_until_its_task_ends_it() -> None:
    async with world() as w:
        w.task().next_item = doubling(100.0)  # type: ignore[method-assign]
        reply = await ask(w, "1", "50", "200")
        assert values(reply) == [127.0, 101.0, 401.0]
        assert [p.notes["text"] for p in reply.predictions if isinstance(p, Prediction)] == ["1", "50", "200"]
        assert_nothing_left(w)


async def test_the_passes_of_several_callers_share_batches() -> None:
    async with world(max_batch_size=8) as w:
        w.task().next_item = doubling(1e6)  # type: ignore[method-assign]
        w.runtime().gate.clear()
        first = asyncio.ensure_future(ask(w, "0"))
        await until(lambda: len(w.runtime().batches) == 1)
        others = [asyncio.ensure_future(ask(w, str(i))) for i in range(1, 5)]
        await until(lambda: w.model().queue_depth == 4)
        w.runtime().gate.set()
        await asyncio.gather(first, *others)
        passes = [len(batch) for batch in w.runtime().batches]
        assert sum(passes) > 5 * 15
        assert max(passes) >= 4, passes
        assert len(passes) < sum(passes) / 2
        assert_nothing_left(w)


async def test_the_deadline_holds_between_passes() -> None:
    async with world() as w:
        w.task().next_item = lambda item, row, options: item  # type: ignore[method-assign]
        with pytest.raises(DeadlineExceeded):
            await ask(w, "1", deadline=time.monotonic() + 0.2)
        ran = len(w.runtime().batches)
        assert ran > 1
        await until(lambda: w.model().queue_depth == 0)
        assert w.model().rows_in_flight == 0


async def test_caller_who_leaves_ends_the_passes() -> None:
    async with world() as w:
        w.task().next_item = lambda item, row, options: item  # type: ignore[method-assign]
        endless = asyncio.ensure_future(ask(w, "1"))
        await until(lambda: len(w.runtime().batches) > 3)
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        await until(lambda: w.model().queue_depth == 0)
        assert w.model().rows_in_flight == 0


async def test_a_pass_that_fails_takes_down_its_own_row_alone() -> None:
    async with world() as w:
        w.task().next_item = doubling(100.0)  # type: ignore[method-assign]
        w.runtime().poison = {7.0}
        reply = await ask(w, "1", "5")
        assert isinstance(reply.predictions[0], InternalError)
        assert isinstance(reply.predictions[1], Prediction)
        assert_nothing_left(w)


async def test_tensors_and_calls_for_tensors_take_one_pass() -> None:
    async with world() as w:
        asked: list[Item] = []

        def next_item(item: Item, row: Tensors, options: Options) -> Item | None:
            asked.append(item)
            return None

        w.task().next_item = next_item  # type: ignore[method-assign]
        reply = await w.inference.infer(w.request("1"), answers=False)
        assert isinstance(reply.predictions[0], Prediction)
        assert reply.predictions[0].tensors["y"].tolist() == [3.0]
        assert not asked
        await ask(w, TensorInstance({"x": np.array([1], np.float32)}))
        assert len(w.runtime().batches) == 2


async def test_time_on_the_device_counts_every_pass() -> None:
    async with world() as w:
        w.task().next_item = doubling(1e5)  # type: ignore[method-assign]
        timing = (await ask(w, "0")).timing
        alone = (await ask(w, "90000")).timing
        assert len(w.runtime().batches) == 18
        assert timing.execute_s > alone.execute_s
        assert timing.queue_s >= 0

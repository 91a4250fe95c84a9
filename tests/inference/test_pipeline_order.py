"""Arrival and priority of a request order its rows from admission to the device."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput, ZooError
from service.inference.results import mean_length
from service.scheduler.queue import NetworkQueue
from service.scheduler.queued_row import Arrival
from service.types import InferReply, Instance, Item, TensorInstance, TextInstance
from tests.support.registry.fakes import FakeTask, World, world
from tests.support.scheduler.fakes import until


def begin(w: World, instance: str | TensorInstance, **changes: Any) -> asyncio.Task[InferReply]:
    return asyncio.create_task(w.inference.infer(w.request(instance, **changes)))


def trips_of(task: FakeTask) -> list[list[str]]:
    """Fills as the pool begins to prepare texts together."""
    trips: list[list[str]] = []
    preprocess = task.preprocess

    def seen(instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        trips.append([i.data.decode() for i in instances if isinstance(i, TextInstance)])
        return preprocess(instances, paths)

    task.preprocess = seen  # type: ignore[method-assign]
    return trips


@pytest.mark.asyncio
async def test_priority_counts_before_the_pool() -> None:
    async with world() as w:
        trips = trips_of(w.task())
        w.task().gate.clear()
        calls = [begin(w, "0")]
        await until(lambda: trips)
        calls += [begin(w, text) for text in "12"]
        await until(lambda: w.model().rows_in_flight == 3)
        calls.append(begin(w, "3", priority=1))
        await until(lambda: w.model().rows_in_flight == 4)
        w.task().gate.set()
        await asyncio.gather(*calls)
        assert trips == [["0"], ["3", "1"], ["2"]]


@pytest.mark.asyncio
async def test_text_that_waited_for_the_pool_keeps_its_effective_deadline() -> None:
    async with world(max_batch_size=1) as w:
        served, runtime = w.model(), w.runtime()
        runtime.gate.clear()
        calls = [begin(w, TensorInstance({"x": np.zeros(1, np.float32)}))]
        await until(lambda: runtime.batches)
        w.task().gate.clear()
        calls.append(begin(w, "1"))
        await until(lambda: served.preprocess.pending)
        key = served.preprocess.pending._deadlines[0]
        calls.append(begin(w, TensorInstance({"x": np.full(1, 2, np.float32)})))
        await until(lambda: served.queue_depth == 1)
        w.task().gate.set()
        await until(lambda: served.queue_depth == 2)
        first = served._network.queue.order[0]
        assert first[0] == key
        assert first[2].arrived_at < first[2].queued_at
        runtime.gate.set()
        await asyncio.gather(*calls)
        assert runtime.batches == [[0], [1], [2]]


@pytest.mark.asyncio
async def test_later_passes_of_an_answer_do_not_go_before_newer_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[Arrival | None] = []
    push = NetworkQueue.push

    def seen(*row: Any) -> Any:
        turns.append(row[-1])
        return push(*row)

    monkeypatch.setattr(NetworkQueue, "push", seen)
    async with world() as w:
        left = [Item({"x": np.full(1, value, np.float32)}) for value in (7, 8)]
        w.task().next_item = lambda *_: left.pop() if left else None  # type: ignore[method-assign]
        await begin(w, "1")
    assert len(turns) == 3
    first, *later = [turn for turn in turns if turn is not None]
    assert len(later) == 2
    assert first.effective_deadline < later[0].effective_deadline < later[1].effective_deadline
    assert first.at < later[0].at < later[1].at, "as if it had come so much later as its passes took on the device"


def lengths(*instances: object, along: str | None = "ids") -> float | None:
    served: Any = SimpleNamespace(card=SimpleNamespace(batching=SimpleNamespace(length_of=along)))
    given: Any = instances
    return mean_length(served, given)


def test_length_known_at_admission_is_the_mean_of_the_rows() -> None:
    short, long = (TensorInstance({"ids": np.zeros(length, np.int64)}) for length in (3, 9))
    assert lengths(short, long) == 6.0
    assert lengths(short, TextInstance(b"not yet known")) is None
    assert lengths(short, TensorInstance({"others": np.zeros(3)})) is None
    assert lengths(short, TensorInstance({"ids": np.zeros(())})) is None
    assert lengths(short, InvalidInput("x", "bad")) is None
    assert lengths(TextInstance(b"of no matter"), along=None) == 1.0
